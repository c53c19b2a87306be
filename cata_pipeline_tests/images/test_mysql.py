"""The picture copy on a MariaDB tenant: whose picture a row shows, races, and copies that change nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from cata_pipeline.errors import DatabaseError
from cata_pipeline.images.mysql import TRIES, MysqlImages
from cata_pipeline.images.tenant_items import PicturedItem, Verdict, WriteBack
from cata_pipeline_tests.images.conftest import Shop
from cata_pipeline_tests.images.hosts import picture
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.images.test_copy import path_of
from cata_pipeline_tests.images.test_write_back import OLD, OWN, PATH, add, shown, wish
from cata_pipeline_tests.images.test_write_back import URL as PICTURE


@pytest.fixture
def engine(new_mariadb_database: Callable[[], URL]) -> Iterator[Engine]:
    engine = sa.create_engine(new_mariadb_database(), poolclass=sa.NullPool)
    yield engine
    engine.dispose()


@contextmanager
def unfinished_edit(engine: Engine, edit: str) -> Iterator[Connection]:
    with engine.connect() as connection:
        connection.execute(sa.text(edit))
        yield connection


def wait_until_somebody_waits(engine: Engine) -> None:
    waiting = sa.text("SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.execute(waiting).scalar_one():
            time.sleep(0.15)  # asked more often than every 0.1 s, InnoDB gives its last answer again


def versions(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text("SELECT * FROM items ORDER BY id"))]


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
def test_only_an_empty_row_or_a_path_of_ours_at_the_very_same_url_is_written(
    engine: Engine, url: str | None, value: str | None, verdict: Verdict
) -> None:
    add(engine, url=url, shown=value)
    before = versions(engine)

    assert MysqlImages(engine).write_back([wish()]) == {"LATTE": verdict}

    assert shown(engine) == (PATH if verdict in {Verdict.WRITTEN, Verdict.ADOPTED} else value)
    assert (versions(engine) == before) == (verdict is not Verdict.WRITTEN)


@pytest.mark.parametrize("asked", ["latte", "LATTE ", "L\u00c1TTE"])
def test_a_code_the_collation_calls_equal_is_another_item(engine: Engine, asked: str) -> None:
    add(engine)
    assert MysqlImages(engine).write_back([wish(asked), wish("GONE")]) == {asked: Verdict.MOVED, "GONE": Verdict.MOVED}
    assert shown(engine) is None


@pytest.mark.parametrize(
    ("edit", "verdict", "outcome"),
    [
        (f"UPDATE items SET main_image_url = '{OWN}'", Verdict.OVERRIDDEN, OWN),
        ("UPDATE items SET external_image_url = 'https://cdn.example/other.jpg'", Verdict.MOVED, OLD),
        (f"UPDATE items SET main_image_url = '{PATH}'", Verdict.ADOPTED, PATH),
        ("UPDATE items SET name = 'Latte'", Verdict.WRITTEN, PATH),
        ("DELETE FROM items WHERE item_code = 'GONE'", Verdict.WRITTEN, PATH),
    ],
)
def test_an_edit_that_commits_while_the_write_back_waits_is_seen(
    engine: Engine, edit: str, verdict: Verdict, outcome: str
) -> None:
    add(engine, shown=OLD)
    add(engine, "GONE")
    verdicts: dict[str, Verdict] = {}
    images = MysqlImages(engine, lock_seconds=30)
    with unfinished_edit(engine, edit) as connection:
        connection.execute(sa.text("SELECT 1 FROM items FOR UPDATE"))
        writer = threading.Thread(target=lambda: verdicts.update(images.write_back([wish()])))
        writer.start()
        wait_until_somebody_waits(engine)
        connection.commit()
    writer.join()

    assert verdicts == {"LATTE": verdict}
    assert shown(engine) == outcome


def test_a_locked_row_is_tried_again(engine: Engine) -> None:
    add(engine)
    with unfinished_edit(engine, "UPDATE items SET name = 'Latte'") as connection:
        images = MysqlImages(engine, sleep=lambda _: connection.commit(), lock_seconds=1)
        assert images.write_back([wish()]) == {"LATTE": Verdict.WRITTEN}


def test_a_row_that_stays_locked_is_given_up_after_a_few_tries(engine: Engine) -> None:
    add(engine)
    pauses: list[float] = []
    images = MysqlImages(engine, sleep=pauses.append, lock_seconds=1)
    with (
        unfinished_edit(engine, "UPDATE items SET name = 'Latte'"),
        pytest.raises(DatabaseError, match="other sessions held the rows"),
    ):
        images.write_back([wish()])

    assert len(pauses) == TRIES - 1
    assert shown(engine) is None


def test_rows_that_need_no_change_are_not_even_locked(engine: Engine) -> None:
    add(engine, "OWN", shown=OWN)
    add(engine, "EQUAL", shown=PATH)
    with unfinished_edit(engine, "UPDATE items SET name = 'renamed'"):
        verdicts = MysqlImages(engine, lock_seconds=1).write_back([wish("OWN"), wish("EQUAL")])

    assert verdicts == {"OWN": Verdict.OVERRIDDEN, "EQUAL": Verdict.ADOPTED}


def test_the_work_list_has_every_item_with_a_url_in_pages_by_the_bytes_of_its_code(engine: Engine) -> None:
    for code, url in {"b": PICTURE, "A": PICTURE, "E ": "x" * 5000, "C": "", "D": None, "a-1": " "}.items():
        add(engine, code, url=url, shown=PATH if code == "A" else None)

    pages = list(MysqlImages(engine).pictured(100, 2))

    assert pages == [
        [PicturedItem("A", PICTURE, PATH), PicturedItem("E ", "x" * 100, None)],
        [PicturedItem("a-1", " ", None), PicturedItem("b", PICTURE, None)],
    ]


def test_many_rows_are_written_by_one_update_and_no_other_row_with_them(engine: Engine) -> None:
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *event: statements.append(event[2]))
    codes = [f"{number}'\\\u2615" for number in range(50)]
    for code in [*codes, "OTHER"]:
        add(engine, code)
    statements.clear()

    wishes = [WriteBack(code, PICTURE, f"path-of-{code}", frozenset()) for code in codes]
    verdicts = MysqlImages(engine).write_back(wishes)

    assert set(verdicts.values()) == {Verdict.WRITTEN}
    assert sum(statement.startswith("UPDATE items") for statement in statements) == 1
    assert {code: shown(engine, code) for code in codes} == {code: f"path-of-{code}" for code in codes}
    assert shown(engine, "OTHER") is None


def test_a_table_without_pictures_is_an_error_in_one_line(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE items DROP COLUMN main_image_url"))
    with pytest.raises(
        DatabaseError, match=r"write the paths of 1 pictures: Unknown column .*main_image_url.*\. Check"
    ):
        MysqlImages(engine).write_back([wish()])


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

    before = versions(engine)
    shop.clock.pass_time(days=1)
    again = shop.copy()

    assert (again.not_modified, again.bytes_downloaded, again.uploaded, again.written_back) == (2, 0, 0, 0)
    assert versions(engine) == before
    shop.host.answers["/latte"] = picture(draw(3))
    shop.clock.pass_time(days=1)
    assert shop.copy().written_back == 1
    assert shop.shown("LATTE") == path_of(draw(3))
