import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cata_pipeline.errors import DatabaseError
from cata_pipeline.images.postgresql import TRIES, PostgresImages
from cata_pipeline.images.tenant_items import PicturedItem, Verdict, WriteBack, judge

URL = "https://cdn.example/latte.jpg"
PATH, OLD, OWN = "kopi-kita/items/new.jpg", "kopi-kita/items/old.jpg", "uploads/own.jpg"


def wish(item_code: str = "LATTE", ours: tuple[str, ...] = (OLD, PATH)) -> WriteBack:
    return WriteBack(item_code, URL, PATH, frozenset(ours))


def add(engine: Engine, item_code: str = "LATTE", url: str | None = URL, shown: str | None = None) -> None:
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


@contextmanager
def unfinished_edit(engine: Engine, edit: str) -> Iterator[Connection]:
    with engine.connect() as connection:
        connection.execute(sa.text(edit))
        yield connection


def wait_until_somebody_waits(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.execute(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
            time.sleep(0.005)


@pytest.mark.parametrize(
    ("url", "value", "verdict"),
    [
        (URL, None, Verdict.WRITTEN),
        (URL, "", Verdict.WRITTEN),
        (URL, OLD, Verdict.WRITTEN),
        (URL, PATH, Verdict.ADOPTED),
        (URL, OWN, Verdict.OVERRIDDEN),
        (URL, OLD.upper(), Verdict.OVERRIDDEN),
        (URL, f"{OLD} ", Verdict.OVERRIDDEN),
        (URL, " ", Verdict.OVERRIDDEN),
        (f"{URL}?v=2", None, Verdict.MOVED),
        (URL.upper(), None, Verdict.MOVED),
        (f"{URL} ", OLD, Verdict.MOVED),
        (None, OLD, Verdict.MOVED),
    ],
)
def test_only_an_empty_row_or_a_path_of_ours_at_the_very_same_url_is_written(
    tenant_engine: Engine, url: str | None, value: str | None, verdict: Verdict
) -> None:
    add(tenant_engine, url=url, shown=value)

    assert judge(wish(), url, value) is verdict
    assert PostgresImages(tenant_engine).write_back([wish()]) == {"LATTE": verdict}
    assert shown(tenant_engine) == (PATH if verdict in {Verdict.WRITTEN, Verdict.ADOPTED} else value)


def test_a_missing_item_counts_as_moved(tenant_engine: Engine) -> None:
    assert PostgresImages(tenant_engine).write_back([wish("GONE")]) == {"GONE": Verdict.MOVED}


@pytest.mark.parametrize(
    ("edit", "verdict", "outcome"),
    [
        (f"UPDATE items SET main_image_url = '{OWN}'", Verdict.OVERRIDDEN, OWN),
        ("UPDATE items SET external_image_url = 'https://cdn.example/other.jpg'", Verdict.MOVED, OLD),
        (f"UPDATE items SET main_image_url = '{PATH}'", Verdict.ADOPTED, PATH),
        ("UPDATE items SET name = 'Latte'", Verdict.WRITTEN, PATH),
    ],
)
def test_an_edit_that_commits_while_the_write_back_waits_is_seen(
    tenant_engine: Engine, edit: str, verdict: Verdict, outcome: str
) -> None:
    add(tenant_engine, shown=OLD)
    verdicts: dict[str, Verdict] = {}
    images = PostgresImages(tenant_engine, lock_seconds=30)
    with unfinished_edit(tenant_engine, edit) as connection:
        writer = threading.Thread(target=lambda: verdicts.update(images.write_back([wish()])))
        writer.start()
        wait_until_somebody_waits(tenant_engine)
        connection.commit()
    writer.join()

    assert verdicts == {"LATTE": verdict}
    assert shown(tenant_engine) == outcome


def test_a_locked_row_is_tried_again(tenant_engine: Engine) -> None:
    add(tenant_engine)
    with unfinished_edit(tenant_engine, "UPDATE items SET name = 'Latte'") as connection:
        images = PostgresImages(tenant_engine, sleep=lambda _: connection.commit(), lock_seconds=0.05)
        assert images.write_back([wish()]) == {"LATTE": Verdict.WRITTEN}


def test_a_row_that_stays_locked_is_given_up_after_a_few_tries(tenant_engine: Engine) -> None:
    add(tenant_engine)
    pauses: list[float] = []
    images = PostgresImages(tenant_engine, sleep=pauses.append, lock_seconds=0.05)
    with (
        unfinished_edit(tenant_engine, "UPDATE items SET name = 'Latte'"),
        pytest.raises(DatabaseError, match="other sessions held the rows"),
    ):
        images.write_back([wish()])

    assert len(pauses) == TRIES - 1
    assert shown(tenant_engine) is None


def test_rows_that_need_no_change_are_not_even_locked(tenant_engine: Engine) -> None:
    add(tenant_engine, "OWN", shown=OWN)
    add(tenant_engine, "EQUAL", shown=PATH)
    with unfinished_edit(tenant_engine, "UPDATE items SET name = 'renamed'"):
        verdicts = PostgresImages(tenant_engine, lock_seconds=0.05).write_back([wish("OWN"), wish("EQUAL")])

    assert verdicts == {"OWN": Verdict.OVERRIDDEN, "EQUAL": Verdict.ADOPTED}


def test_the_work_list_has_every_item_with_a_url_in_pages(tenant_engine: Engine) -> None:
    add(tenant_engine, "A", url=URL, shown=PATH)
    add(tenant_engine, "B", url="x" * 5000)
    add(tenant_engine, "C", url="")
    add(tenant_engine, "D", url=None)
    add(tenant_engine, "E", url=URL)

    pages = list(PostgresImages(tenant_engine).pictured(100, 2))

    assert pages == [
        [PicturedItem("A", URL, PATH), PicturedItem("B", "x" * 100, None)],
        [PicturedItem("E", URL, None)],
    ]


def test_many_rows_are_written_by_one_update(tenant_engine: Engine) -> None:
    statements: list[str] = []
    sa.event.listen(tenant_engine, "before_cursor_execute", lambda *event: statements.append(event[2]))
    codes = [f'"{number}"' for number in range(50)]
    for code in codes:
        add(tenant_engine, code)
    statements.clear()

    verdicts = PostgresImages(tenant_engine).write_back([wish(code) for code in codes])

    assert set(verdicts.values()) == {Verdict.WRITTEN}
    assert sum("UPDATE items" in statement for statement in statements) == 1
