"""`make demo`: two syncs with edits on both sides in between, then a table of what became of each case and why.

The story only calls what an operator calls (the registry, the two jobs) and looks at what they left behind; each case
is judged in `verdicts`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from cata_pipeline.demo.edits import MerchantEdits, merchant_edits, pos_edits
from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.products import Menu
from cata_pipeline.demo.surroundings import Surroundings, surroundings
from cata_pipeline.demo.verdicts import CASES, Case, Rows, Scene, Verdict, read_rows
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.file import read_tenants

Counts = Mapping[str, Mapping[str, Any]]
RunJob = Callable[[str, str], Counts]

_ITEMS = "SELECT * FROM items"
_COMPONENTS = """
SELECT i.item_code, c.slot, c.component_item_code, c.visible
FROM item_bundle_components c JOIN items i ON i.id = c.item_id ORDER BY i.item_code, c.position
"""
_MODIFIERS = """
SELECT i.item_code, m.modifier_code, o.option_code
FROM item_modifier_options o JOIN item_modifiers m ON m.id = o.item_modifier_id JOIN items i ON i.id = m.item_id
WHERE m.visible AND o.visible
"""
_PRICES = "SELECT i.item_code, m.price FROM menu_items m JOIN items i ON i.id = m.item_id"
_FAILURES = "SELECT url, failure FROM image_urls WHERE tenant_id = :tenant AND failures > 0"


@dataclass(frozen=True)
class Ending:
    """What became of one case: a verdict for each tenant."""

    case: Case
    verdicts: Mapping[str, Verdict]

    @property
    def held(self) -> bool:
        """Whether it came out as its rule says, for every tenant."""
        return all(verdict.holds for verdict in self.verdicts.values())


def tell(state: Path, console: Console) -> list[Ending]:
    """Tell the story on embedded servers below `state`, and what became of every case."""
    started = time.monotonic()
    console.print("Starting PostgreSQL, a fake GCS and a make-believe POS …")
    with surroundings(state, afresh=True) as around:
        endings = judged(_tell(around, console))
    console.print(table(endings))
    console.print(f"{time.monotonic() - started:.0f} seconds. See it in the Dagster UI: .venv/bin/cata-pipeline dev")
    return endings


def _tell(around: Surroundings, console: Console) -> list[Scene]:
    from cata_pipeline.orchestration.in_process import open_instance, run_in_process

    pipeline = Pipeline(Settings.from_environment())
    ids = [menu.tenant_id for menu in MENUS]
    engines = {key: sa.create_engine(around.tenant_database(key), poolclass=sa.NullPool) for key in ids}
    with open_instance() as instance:

        def run(job: str, op: str) -> Counts:
            answer = run_in_process(job, op, ids, {}, instance)
            for tenant_id, tenant in answer.tenants.items():
                if tenant.error:
                    raise RuntimeError(f"{job} failed for {tenant_id}: {tenant.error}")
            return {tenant_id: tenant.metadata for tenant_id, tenant in answer.tenants.items()}

        outcome = pipeline.registry.import_tenants(read_tenants(around.tenants_file))
        console.print(f"Registered {', '.join(outcome.added)}")
        first = _sync_and_copy(console, "First night", run)
        before = {key: _items(engines[key]) for key in ids}
        edits: dict[str, MerchantEdits] = {}
        for menu in MENUS:
            edits[menu.tenant_id] = merchant_edits(menu, engines[menu.tenant_id], pipeline.image_bucket)
            pos_edits(menu, around.pos.store(menu.tenant_id))
        console.print("Merchants renamed, took photos and set prices; shopkeepers renamed, swapped and removed")
        second = _sync_and_copy(console, "Second night", run)
        third = _sync_and_copy(console, "Third night", run)
    return [
        _scene(menu, pipeline, engines[menu.tenant_id], edits[menu.tenant_id], before[menu.tenant_id], syncs)
        for menu in MENUS
        for syncs in [[night[menu.tenant_id] for night in (first, second, third)]]
    ]


def _sync_and_copy(console: Console, night: str, run: RunJob) -> Counts:
    synced = run("sync_tenants", "catalog_sync")
    copied = run("copy_images", "image_objects")
    numbers = {name: sum(counts[name] for counts in synced.values()) for name in ("inserted", "updated", "unchanged")}
    pictures = {name: sum(counts[name] for counts in copied.values()) for name in ("downloaded", "uploaded", "failed")}
    told = ", ".join(f"{count} {name}" for name, count in numbers.items())
    console.print(f"{night}: {told}; pictures: {', '.join(f'{count} {name}' for name, count in pictures.items())}")
    return synced


def _items(engine: sa.Engine) -> Rows:
    return {row["item_code"]: row for row in read_rows(engine, _ITEMS)}


def _scene(
    menu: Menu,
    pipeline: Pipeline,
    engine: sa.Engine,
    edits: MerchantEdits,
    before: Rows,
    syncs: Sequence[Mapping[str, Any]],
) -> Scene:
    after = _items(engine)
    with pipeline.control.connect() as connection:
        reasons = {row.url: row.failure for row in connection.execute(sa.text(_FAILURES), {"tenant": menu.tenant_id})}
    return Scene(
        menu=menu,
        photo=edits.photo,
        before=before,
        after=after,
        components=read_rows(engine, _COMPONENTS),
        modifiers=read_rows(engine, _MODIFIERS),
        prices=read_rows(engine, _PRICES),
        failures={
            code: reasons[row["external_image_url"]]
            for code, row in after.items()
            if row["external_image_url"] in reasons
        },
        objects=frozenset(pipeline.image_bucket.names(f"{menu.tenant_id}/")),
        bucket=pipeline.image_bucket,
        syncs=syncs,
    )


def judged(scenes: Sequence[Scene]) -> list[Ending]:
    """What became of every case; needs the servers that the scenes were read from."""
    return [Ending(case, {scene.menu.tenant_id: _judge(case.judge, scene) for scene in scenes}) for case in CASES]


def table(endings: Sequence[Ending]) -> Table:
    """The endings as people read them; of a case that failed somewhere, the failure is shown."""
    first = next(iter(endings[0].verdicts))
    rows = Table("case", f"what happened ({first})", "rule", "tenants", title="What became of it")
    for ending in endings:
        verdicts = ending.verdicts.values()
        shown = next((verdict for verdict in verdicts if not verdict.holds), ending.verdicts[first])
        colour = "green" if ending.held else "red"
        holding = sum(verdict.holds for verdict in verdicts)
        rows.add_row(ending.case.title, shown.found, ending.case.rule, f"[{colour}]{holding} of {len(verdicts)}[/]")
    return rows


def _judge(judge: Callable[[Scene], Verdict], scene: Scene) -> Verdict:
    try:
        return judge(scene)
    except LookupError as error:
        return Verdict(f"{scene.menu.tenant_id}: {error} is missing", holds=False)
