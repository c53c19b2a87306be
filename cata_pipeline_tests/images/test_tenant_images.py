"""Whose picture a row of `items` shows, on every engine: verdicts, races, and rows that nobody may touch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from cata_pipeline.errors import DatabaseError
from cata_pipeline.images.tenant_images import TRIES, TenantImages
from cata_pipeline.images.tenant_items import PicturedItem, Verdict, WriteBack, judge
from cata_pipeline.tenants.connections import tenant_engine
from cata_pipeline_tests.images.conftest import Shop
from cata_pipeline_tests.images.hosts import picture
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.images.test_copy import path_of
from cata_pipeline_tests.reconcile.test_mapping import RENAMED, rename_everything

PICTURE = "https://cdn.example/latte.jpg"
PATH, OLD, OWN = "kopi-kita/items/new.jpg", "kopi-kita/items/old.jpg", "uploads/own.jpg"


@pytest.fixture(params=["postgresql", "mariadb", "mysql"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    name = request.param
    url: URL = (
        request.getfixturevalue("tenant_database_url")
        if name == "postgresql"
        else request.getfixturevalue(f"new_{name}_database")()
    )
    engine = tenant_engine(url)
    yield engine
    engine.dispose()


def wish(item_code: str = "LATTE", managed: tuple[str, ...] = (OLD, PATH)) -> WriteBack:
    return WriteBack(item_code, PICTURE, PATH, frozenset(managed))


def add(engine: Engine, item_code: str = "LATTE", url: str | None = PICTURE, shown: str | None = None) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO items (item_code, external_image_url, main_image_url) VALUES (:code, :url, :shown)"),
            {"code": item_code, "url": url, "shown": shown},
        )


def shown(engine: Engine, item_code: str = "LATTE") -> str | None:
    with engine.connect() as connection:
        value: str | None = connection.execute(
            sa.text("SELECT main_image_url FROM items WHERE item_code = :code"), {"code": item_code}
        ).scalar_one()
        return value


def rows(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text("SELECT * FROM items ORDER BY id"))]


@contextmanager
def unfinished_edit(engine: Engine, edit: str) -> Iterator[Connection]:
    with engine.connect() as connection:
        connection.execute(sa.text(edit))
        yield connection


@pytest.mark.parametrize(
    ("url", "value", "verdict"),
    [
        (PICTURE, None, Verdict.WRITTEN),
        (PICTURE, "", Verdict.WRITTEN),
        (PICTURE, OLD, Verdict.WRITTEN),
        (PICTURE, PATH, Verdict.ADOPTED),
        (PICTURE, OWN, Verdict.OVERRIDDEN),
        (PICTURE, OLD.upper(), Verdict.OVERRIDDEN),
        (PICTURE, f"{OLD} ", Verdict.OVERRIDDEN),
        (PICTURE, " ", Verdict.OVERRIDDEN),
        (f"{PICTURE}?v=2", None, Verdict.MOVED),
        (PICTURE.upper(), None, Verdict.MOVED),
        (f"{PICTURE} ", OLD, Verdict.MOVED),
        (None, OLD, Verdict.MOVED),
    ],
)
def test_only_an_empty_row_or_a_managed_path_at_the_very_same_url_is_written(
    engine: Engine, url: str | None, value: str | None, verdict: Verdict
) -> None:
    add(engine, url=url, shown=value)
    before = rows(engine)

    assert judge(wish(), url, value) is verdict
    assert TenantImages(engine).write_back([wish()]) == {"LATTE": verdict}

    assert shown(engine) == (PATH if verdict in {Verdict.WRITTEN, Verdict.ADOPTED} else value)
    assert (rows(engine) == before) == (verdict is not Verdict.WRITTEN)


@pytest.mark.parametrize("asked", ["GONE", "latte", "LATTE ", "L\u00c1TTE"])
def test_a_missing_item_counts_as_moved_even_where_the_collation_finds_another(engine: Engine, asked: str) -> None:
    add(engine)
    assert TenantImages(engine).write_back([wish(asked)]) == {asked: Verdict.MOVED}
    assert shown(engine) is None


@pytest.mark.parametrize(
    ("edit", "verdict", "outcome"),
    [
        (f"UPDATE items SET main_image_url = '{OWN}' WHERE item_code = 'LATTE'", Verdict.OVERRIDDEN, OWN),
        ("UPDATE items SET external_image_url = 'https://cdn.example/other.jpg'", Verdict.MOVED, OLD),
        (f"UPDATE items SET main_image_url = '{PATH}' WHERE item_code = 'LATTE'", Verdict.ADOPTED, PATH),
        ("UPDATE items SET name = 'Latte'", Verdict.WRITTEN, PATH),
        ("UPDATE items SET item_code = 'OTHER' WHERE item_code = 'LATTE'", Verdict.MOVED, None),
    ],
)
def test_an_edit_that_commits_while_the_write_back_tries_is_seen(
    engine: Engine, edit: str, verdict: Verdict, outcome: str | None
) -> None:
    add(engine, shown=OLD)
    add(engine, "FREE")
    with unfinished_edit(engine, edit) as connection:

        def finish(_: float) -> None:
            connection.commit()

        verdicts = TenantImages(engine, sleep=finish).write_back([wish(), wish("FREE")])

    assert verdicts["LATTE"] is verdict
    if outcome is not None:
        assert shown(engine) == outcome


def test_a_row_that_stays_locked_is_left_for_the_next_run_and_costs_the_others_nothing(engine: Engine) -> None:
    add(engine, "BUSY")
    add(engine, "FREE")
    pauses: list[float] = []
    with unfinished_edit(engine, "UPDATE items SET name = 'Latte' WHERE item_code = 'BUSY'"):
        verdicts = TenantImages(engine, sleep=pauses.append).write_back([wish("BUSY"), wish("FREE")])

        assert verdicts == {"BUSY": Verdict.BUSY, "FREE": Verdict.WRITTEN}
        assert len(pauses) == TRIES - 1
        assert (shown(engine, "BUSY"), shown(engine, "FREE")) == (None, PATH)


def test_rows_that_need_no_change_are_not_even_locked(engine: Engine) -> None:
    add(engine, "OWN", shown=OWN)
    add(engine, "EQUAL", shown=PATH)
    pauses: list[float] = []
    with unfinished_edit(engine, "UPDATE items SET name = 'renamed'"):
        verdicts = TenantImages(engine, sleep=pauses.append).write_back([wish("OWN"), wish("EQUAL")])

    assert verdicts == {"OWN": Verdict.OVERRIDDEN, "EQUAL": Verdict.ADOPTED}
    assert pauses == []


def test_the_work_list_has_every_item_with_a_url_in_pages_by_the_bytes_of_its_code(engine: Engine) -> None:
    for code, url in {"b": PICTURE, "A": PICTURE, "E ": "x" * 5000, "C": "", "D": None, "a-1": " "}.items():
        add(engine, code, url=url, shown=PATH if code == "A" else None)

    pages = list(TenantImages(engine).pictured(100, 2))

    assert pages == [
        [PicturedItem("A", PICTURE, PATH), PicturedItem("E ", "x" * 100, None)],
        [PicturedItem("a-1", " ", None), PicturedItem("b", PICTURE, None)],
    ]


def test_many_rows_are_written_by_one_update_and_no_other_row_with_them(engine: Engine) -> None:
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *event: statements.append(event[2]))
    codes = [f"{number}'\\\"\u2615" for number in range(50)]
    for code in [*codes, "OTHER"]:
        add(engine, code)
    statements.clear()

    wishes = [WriteBack(code, PICTURE, f"path-of-{code}", frozenset()) for code in codes]
    verdicts = TenantImages(engine).write_back(wishes)

    assert set(verdicts.values()) == {Verdict.WRITTEN}
    assert sum(statement.startswith("UPDATE items") for statement in statements) == 1
    assert {code: shown(engine, code) for code in codes} == {code: f"path-of-{code}" for code in codes}
    assert shown(engine, "OTHER") is None


def test_a_table_without_pictures_is_an_error_in_one_line(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE items DROP COLUMN main_image_url"))
    with pytest.raises(DatabaseError, match=r"write the paths of 1 pictures: .*main_image_url[^\n]*\. Check"):
        TenantImages(engine).write_back([wish()])


def test_a_copy_writes_back_keeps_own_pictures_and_then_has_nothing_to_do(
    engine: Engine, new_shop: Callable[[str, Engine], Shop]
) -> None:
    shop = new_shop("kopi-kita", engine)
    shop.host.answers |= {"/latte": picture(draw(1), etag='"1"'), "/cake": picture(draw(2), etag='"2"')}
    shop.add("LATTE", shop.host.url("/latte"))
    shop.add("CAKE", shop.host.url("/cake"), OWN)

    first = shop.copy()

    assert (first.written_back, first.overridden, first.uploaded) == (1, 1, 2)
    assert (shop.shown("LATTE"), shop.shown("CAKE")) == (path_of(draw(1)), OWN)

    before = rows(engine)
    shop.clock.pass_time(days=1)
    again = shop.copy()

    assert (again.not_modified, again.bytes_downloaded, again.uploaded, again.written_back) == (2, 0, 0, 0)
    assert rows(engine) == before
    shop.host.answers["/latte"] = picture(draw(3))
    shop.clock.pass_time(days=1)
    assert shop.copy().written_back == 1
    assert shop.shown("LATTE") == path_of(draw(3))


def test_a_copy_whose_row_is_locked_says_so_and_shows_the_stored_copy_next_time(
    engine: Engine, new_shop: Callable[[str, Engine], Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cata_pipeline.images.tenant_images._PAUSE_SECONDS", 0.001)
    shop = new_shop("kopi-kita", engine)
    shop.host.answers["/latte"] = picture(draw(1))
    shop.add("LATTE", shop.host.url("/latte"))

    with unfinished_edit(engine, "UPDATE items SET name = 'Latte'"):
        locked = shop.copy()

    assert (locked.uploaded, locked.written_back, locked.failed) == (1, 0, 1)
    [failure] = locked.failures
    assert (failure.item_code, failure.reason.partition(";")[0]) == (
        "LATTE",
        "somebody else was changing the item all the while",
    )
    again = shop.copy()
    assert (again.considered, again.downloaded, again.written_back) == (1, 0, 1)
    assert shop.shown("LATTE") == path_of(draw(1))


def test_pictures_of_a_renamed_schema_are_copied(engine: Engine, new_shop: Callable[[str, Engine], Shop]) -> None:
    shop = replace(new_shop("kopi-kita", engine), mapping=RENAMED)
    shop.host.answers["/latte"] = picture(draw(1))
    shop.add("LATTE", shop.host.url("/latte"))
    rename_everything(engine, RENAMED)

    assert shop.copy().written_back == 1

    quote = engine.dialect.identifier_preparer.quote_identifier
    column, table = quote(RENAMED.column("items", "main_image_url")), quote(RENAMED.table("items"))
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT {column} FROM {table}").scalars().all() == [path_of(draw(1))]


@contextmanager
def lenient(engine: Engine) -> Iterator[None]:
    """A server that cuts what is too long instead of refusing it, where there is such a mode."""
    if engine.dialect.name != "mysql":
        yield
        return
    with engine.connect() as connection:
        [mode] = connection.execute(sa.text("SELECT @@GLOBAL.sql_mode")).one()
        connection.execute(sa.text("SET GLOBAL sql_mode = ''"))
        try:
            yield
        finally:
            connection.execute(sa.text("SET GLOBAL sql_mode = :mode"), {"mode": mode})


def test_a_path_too_long_for_its_column_is_refused_whatever_the_servers_mode(engine: Engine) -> None:
    kind = "MODIFY main_image_url varchar(10)"
    if engine.dialect.name == "postgresql":
        kind = "ALTER main_image_url TYPE varchar(10)"
    with engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE items {kind}"))
    with lenient(engine):
        add(engine)
        with pytest.raises(DatabaseError, match=r"did not let us write the paths of 1 pictures: .*too long"):
            TenantImages(engine).write_back([wish()])
    assert shown(engine) is None


def test_an_item_whose_code_no_ledger_can_name_stops_no_other(
    new_mariadb_database: Callable[[], URL], new_shop: Callable[[str, Engine], Shop], caplog: pytest.LogCaptureFixture
) -> None:
    engine = sa.create_engine(new_mariadb_database(), poolclass=sa.NullPool)
    shop = new_shop("kopi-kita", engine)
    shop.host.answers["/latte"] = picture(draw(1))
    shop.add("LATTE", shop.host.url("/latte"))
    shop.add("NU\x00L", shop.host.url("/latte"))

    result = shop.copy()

    assert (result.considered, result.written_back) == (1, 1)
    assert "'NU\\x00L' keeps its picture as it is" in caplog.text
    engine.dispose()
