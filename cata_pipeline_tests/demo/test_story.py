"""The demo as people run it, and the proof that its verdicts can fail."""

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy as sa
from rich.console import Console

from cata_pipeline import buckets
from cata_pipeline.demo import story
from cata_pipeline.demo.edits import POS_NAME, MerchantEdits
from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.surroundings import Surroundings, surroundings
from cata_pipeline.demo.verdicts import CASES, Scene, Verdict
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.providers.pacing import OF_THIS_PROCESS
from cata_pipeline.settings import Settings

MENU = next(menu for menu in MENUS if menu.cases.nameless_product_id)
IS = MENU.cases


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may pass through, also where root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="cata-story-") as path:
        Path(path).chmod(0o711)
        yield Path(path)


@dataclass
class Stage:
    """The story of one tenant, told; everything still runs."""

    around: Surroundings
    pipeline: Pipeline
    scene: Scene
    printed: str

    def scene_after(self, statement: str) -> Scene:
        """The scene as it would be had somebody done this to the tenant's database."""
        name = "tampered"
        original = self.around.tenant_database(MENU.tenant_id)
        url = self.around.servers.postgresql_url("postgres", "postgresql")
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())
            connection.execute(f'CREATE DATABASE {name} TEMPLATE "{original.database}"'.encode())
        engine = sa.create_engine(original.set(database=name), poolclass=sa.NullPool)
        with engine.begin() as connection:
            done = connection.exec_driver_sql(statement)
            assert done.rowcount == 1, "a tampering touches exactly one row"
        return self.seen(engine)

    def seen(self, engine: sa.Engine | None = None) -> Scene:
        engine = engine or sa.create_engine(self.around.tenant_database(MENU.tenant_id), poolclass=sa.NullPool)
        edits = MerchantEdits(self.scene.photo)
        return story._scene(MENU, self.pipeline, engine, edits, self.scene.before, self.scene.syncs)

    def delete(self, path: str) -> bytes:
        """Delete an object; returns what it held."""
        bucket = self.pipeline.image_bucket
        content = bucket.read(path)
        buckets._client(self.around.servers.gcs_origin).bucket(bucket.name).blob(path).delete()
        return content


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch, surroundings(folder / "stage", afresh=True) as around:
        patch.setattr(story, "MENUS", (MENU,))
        patch.setattr(OF_THIS_PROCESS, "_interval", 0.0)
        patch.delenv("CATA_ENV", raising=False)
        text = io.StringIO()
        [scene] = story._tell(around, Console(file=text, width=200))
        pipeline = Pipeline(Settings.from_environment())
        yield Stage(around, pipeline, scene, text.getvalue())
        pipeline.control.dispose()
        buckets._client(around.servers.gcs_origin).close()


def judged(scene: Scene) -> dict[str, Verdict]:
    return {case.title: story._judge(case.judge, scene) for case in CASES}


def broken(scene: Scene) -> set[str]:
    return {title for title, verdict in judged(scene).items() if not verdict.holds}


def item(code: str, change: str) -> str:
    return f"UPDATE items SET {change} WHERE item_code = '{code}'"


def child(table: str, condition: str, change: str) -> str:
    return f"UPDATE {table} SET {change} WHERE id = (SELECT min(id) FROM {table} WHERE {condition})"


OF_COMBOSET = f"item_id = (SELECT id FROM items WHERE item_code = '{IS.comboset}')"
OF_GROUPS = (
    "item_modifier_id IN (SELECT m.id FROM item_modifiers m JOIN items i ON i.id = m.item_id"
    f" WHERE i.item_code = '{IS.wrong_inner_group}')"
)
PRICED = f"item_id = (SELECT id FROM items WHERE item_code = '{IS.to_price_by_merchant}')"
ONE_COPY = f"(SELECT min(item_code) FROM items WHERE starts_with(main_image_url, '{MENU.tenant_id}/items/'))"
TAMPERINGS = (
    ("product without SKU", item(IS.empty_sku_product_id, "visible = false")),
    ("product without SKU", item(IS.empty_sku_product_id, "item_code = 'made-up'")),
    ("one SKU on two rows", item(IS.duplicate_sku, "visible = false")),
    ("one SKU on two rows", item(IS.duplicate_sku, "name = 'Something else'")),
    ("variants", item(IS.variant_family[0], "variant_group = 'another family'")),
    (
        "variants",
        item(
            IS.variant_family[0],
            f"variant_options = (SELECT variant_options FROM items WHERE item_code = '{IS.variant_family[1]}')",
        ),
    ),
    ("comboset", child("item_bundle_components", OF_COMBOSET, "visible = false")),
    ("comboset", child("item_bundle_components", OF_COMBOSET, "position = 99")),
    ("modifier with a foreign group id", child("item_modifier_options", OF_GROUPS, "visible = false")),
    ("modifier with a foreign group id", child("item_modifier_options", OF_GROUPS, "option_code = 'stray'")),
    ("product without picture", item(IS.no_picture, "main_image_url = 'uploads/made-up.jpg'")),
    ("product without picture", item(IS.no_picture, "external_image_url = 'https://cdn.example/made-up.jpg'")),
    ("broken picture", item(IS.broken_picture, "main_image_url = 'uploads/half.jpg'")),
    ("picture that is gone", item(IS.missing_picture, "main_image_url = 'uploads/half.jpg'")),
    ("two items, one picture", item(IS.shared_picture[0], "main_image_url = 'uploads/twice.jpg'")),
    ("merchant renames", item(IS.to_rename_by_merchant, "name = original_name")),
    ("merchant and POS rename", item(IS.renamed_by_both, f"name = '{POS_NAME}'")),
    ("merchant and POS rename", item(IS.renamed_by_both, "original_name = 'As it was'")),
    ("POS renames", item(IS.to_rename_by_pos, "name = 'As it was'")),
    ("POS renames", item(IS.to_rename_by_pos, "original_name = 'As it was'")),
    ("merchant sets an own photo", item(IS.to_photo_by_merchant, "main_image_url = external_image_url")),
    ("POS changes a photo", item(IS.to_photo_by_pos, "main_image_url = 'uploads/made-up.jpg'")),
    ("merchant sets a price", item(IS.to_price_by_merchant, "base_price = 1")),
    ("merchant sets a price", item(IS.to_deactivate, "base_price = 1")),
    ("merchant sets a price", f"UPDATE menu_items SET price = 1 WHERE {PRICED}"),
    ("merchant sets a price", f"DELETE FROM menu_items WHERE {PRICED}"),
    ("POS deactivates", item(IS.to_deactivate, "visible = true")),
    ("POS removes", item(IS.to_remove, "visible = false")),
    ("POS removes", item(IS.to_remove, "item_code = 'made-up'")),
    ("every copied picture", f"UPDATE items SET main_image_url = NULL WHERE item_code = {ONE_COPY}"),
)


def counted(sync: int, **changes: int) -> Callable[[Scene], Scene]:
    def change(scene: Scene) -> Scene:
        syncs: list[Mapping[str, object]] = list(scene.syncs)
        syncs[sync] = {**syncs[sync], **changes}
        return replace(scene, syncs=syncs)

    return change


def without_first(scene: Scene) -> Scene:
    return replace(scene, before=dict(list(scene.before.items())[1:]))


MISCOUNTS: tuple[tuple[str, Callable[[Scene], Scene]], ...] = (
    ("first sync", counted(0, inserted=1)),
    ("first sync", without_first),
    ("row without a name", counted(0, rejected=0)),
    ("row without a name", counted(0, rejected=2)),
    ("merchant and POS rename", counted(1, names_kept=0)),
    ("POS deactivates", counted(1, hidden=2)),
    ("POS removes", counted(1, stale=0)),
    ("broken picture", lambda scene: replace(scene, failures={IS.missing_picture: "gone"})),
    ("picture that is gone", lambda scene: replace(scene, failures={IS.broken_picture: "broken"})),
    ("sync with nothing new", counted(2, updated=1)),
    ("sync with nothing new", counted(2, children_inserted=1)),
    ("sync with nothing new", counted(2, unchanged=0)),
)


def test_the_demo_holds_every_case_for_every_tenant_and_leaves_no_process(folder: Path) -> None:
    state = folder / "demo"
    done = subprocess.run(
        [Path(sys.executable).with_name("cata-pipeline"), "demo", "--json", "--state", state],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    rows = [line.split("│") for line in done.stderr.splitlines() if line.startswith("│")]
    shown = {cells[1].strip(): cells[4].strip() for cells in rows if cells[1].strip()}
    assert shown == {case.title: "3 of 3" for case in CASES}
    told = {case["case"]: case for case in json.loads(done.stdout)["cases"]}
    assert told.keys() == shown.keys()
    assert all(case["held"] and len(case["tenants"]) == 3 for case in told.values())
    left = [process.pid for process in psutil.process_iter(["cmdline"]) if str(state) in str(process.info["cmdline"])]
    assert left == []


def test_every_case_holds_when_nobody_tampers(stage: Stage) -> None:
    assert broken(stage.scene) == set()
    assert broken(stage.seen()) == set()
    text = io.StringIO()
    endings = story.judged([stage.scene])
    assert all(ending.held for ending in endings)
    Console(file=text, width=200).print(story.table(endings))
    assert text.getvalue().count("1 of 1") == len(CASES)


def test_every_case_is_tampered_with_below() -> None:
    assert {title for title, _ in (*TAMPERINGS, *MISCOUNTS)} == {case.title for case in CASES}


@pytest.mark.parametrize(("title", "statement"), TAMPERINGS, ids=[title for title, _ in TAMPERINGS])
def test_a_case_does_not_hold_in_a_tampered_database(stage: Stage, title: str, statement: str) -> None:
    [judge] = [case.judge for case in CASES if case.title == title]
    assert not story._judge(judge, stage.scene_after(statement)).holds


@pytest.mark.parametrize(("title", "change"), MISCOUNTS, ids=[title for title, _ in MISCOUNTS])
def test_a_case_does_not_hold_when_counts_or_the_ledger_say_otherwise(
    stage: Stage, title: str, change: Callable[[Scene], Scene]
) -> None:
    [judge] = [case.judge for case in CASES if case.title == title]
    assert not story._judge(judge, change(stage.scene)).holds


def test_a_copy_whose_object_is_gone_is_found(stage: Stage) -> None:
    path = stage.scene.after[IS.shared_picture[0]]["main_image_url"]
    content = stage.delete(path)
    try:
        assert broken(stage.seen()) == {"two items, one picture", "every copied picture"}
    finally:
        stage.pipeline.image_bucket.create(path, content, content_type="image/jpeg")
    assert broken(stage.seen()) == set()


def test_a_copy_whose_object_holds_something_else_is_found(stage: Stage) -> None:
    path = stage.scene.after[IS.to_photo_by_pos]["main_image_url"]
    content = stage.delete(path)
    stage.pipeline.image_bucket.create(path, b"something else", content_type="image/jpeg")
    try:
        assert broken(stage.seen()) == {"every copied picture"}
    finally:
        stage.delete(path)
        stage.pipeline.image_bucket.create(path, content, content_type="image/jpeg")


def test_the_old_object_of_a_changed_photo_must_still_be_there(stage: Stage) -> None:
    path = stage.scene.before[IS.to_photo_by_pos]["main_image_url"]
    content = stage.delete(path)
    try:
        assert broken(stage.seen()) == {"POS changes a photo"}
    finally:
        stage.pipeline.image_bucket.create(path, content, content_type="image/jpeg")


def test_a_case_that_does_not_hold_is_shown_and_fails_the_demo(stage: Stage) -> None:
    tampered = stage.scene_after(item(IS.to_price_by_merchant, "base_price = 1"))
    text = io.StringIO()
    endings = [
        story.Ending(case, {"untouched": case.judge(stage.scene), "tampered": case.judge(tampered)}) for case in CASES
    ]
    assert [ending.case.title for ending in endings if not ending.held] == ["merchant sets a price"]
    Console(file=text, width=200).print(story.table(endings))
    [line] = [line for line in text.getvalue().splitlines() if "1 of 2" in line]
    assert "merchant sets a price" in line
    assert "1.00 stays" in line, "what is shown is the tenant for which it does not hold"


def test_a_row_that_is_missing_altogether_is_a_verdict_not_a_crash(stage: Stage) -> None:
    verdicts = judged(replace(stage.scene, after={}))
    assert not verdicts["POS renames"].holds
    assert verdicts["POS renames"].found == f"{MENU.tenant_id}: '{IS.to_rename_by_pos}' is missing"


def test_the_story_tells_what_each_night_did(stage: Stage) -> None:
    nights = [line for line in stage.printed.splitlines() if "night: " in line]
    assert [night.partition(":")[0] for night in nights] == ["First night", "Second night", "Third night"]
    assert f"{len(stage.scene.before)} inserted, 0 updated" in nights[0]
    assert "0 inserted, 0 updated" in nights[2]
    assert "0 downloaded, 0 uploaded, 0 failed" in nights[2]
