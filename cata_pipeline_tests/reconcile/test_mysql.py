"""What only MySQL and MariaDB can get wrong: collations, character sets, silent conversions, and the bulk load."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from cata_pipeline.catalog.model import BundleComponent, Modifier, ModifierGroup, VariantOption
from cata_pipeline.errors import ContractError, DatabaseError, GuardRefusedError
from cata_pipeline.reconcile.contract import bind
from cata_pipeline.reconcile.mysql.load import insert_statements
from cata_pipeline.reconcile.mysql.session import MysqlSession
from cata_pipeline.reconcile.policy import TABLES
from cata_pipeline.reconcile.stage import stage_tables
from cata_pipeline.reconcile.steps import open_session
from cata_pipeline_tests.reconcile.conftest import MYSQL_ENGINES, SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_ownership import MILK, SUGAR

ENGINES = MYSQL_ENGINES
COLLATIONS = ("utf8mb4_general_ci", "utf8mb4_unicode_ci")
LOOKALIKES = ("latte", "Latt\u00e9", "Latte ", "Latte \u2615", "Latte \U0001f370")


@pytest.fixture
def set_server(tenant: SyncedTenant) -> Iterator[Callable[[str, int], None]]:
    """Sets a variable of the server for connections to come, until the test ends."""
    engine = sa.create_engine(tenant.url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        before: dict[str, int] = {}

        def set_variable(name: str, value: int) -> None:
            before[name] = connection.exec_driver_sql(f"SELECT @@global.{name}").scalar_one()
            connection.exec_driver_sql(f"SET GLOBAL {name} = {value}")

        yield set_variable
        for name, value in before.items():
            connection.exec_driver_sql(f"SET GLOBAL {name} = {value}")


def collate(tenant: SyncedTenant, collation: str) -> None:
    tenant.edit(f"ALTER TABLE items CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}")


@pytest.mark.parametrize("collation", COLLATIONS)
@pytest.mark.parametrize("edited", LOOKALIKES)
def test_an_edit_the_collation_cannot_see_is_an_edit(tenant: SyncedTenant, collation: str, edited: str) -> None:
    collate(tenant, collation)
    tenant.sync(latte())
    tenant.edit("UPDATE items SET name = :name", name=edited)
    report = tenant.sync(latte(name="Caffe Latte"))
    row = tenant.item("LAT-L")
    assert (row["name"], row["original_name"]) == (edited, "Caffe Latte")
    assert (report.items.renamed, report.items.names_kept) == (0, 1)


@pytest.mark.parametrize("collation", COLLATIONS)
@pytest.mark.parametrize(("old", "new"), [*(("Latte", name) for name in LOOKALIKES), ("\U0001f370", "\U0001f375")])
def test_a_provider_change_the_collation_cannot_see_is_written(
    tenant: SyncedTenant, collation: str, old: str, new: str
) -> None:
    collate(tenant, collation)
    tenant.sync(latte(name=old, category=old, description=None))
    report = tenant.sync(latte(name=new, category=new, description=None))
    row = tenant.item("LAT-L")
    assert (row["name"], row["original_name"], row["category"]) == (new, new, new)
    assert report.items.renamed == 1
    assert {(change.old, change.new) for change in report.sample} == {(old, new)}


@pytest.mark.parametrize("collation", COLLATIONS)
@pytest.mark.parametrize("other", ["lat", "L\u00c1T", "LAT "])
def test_of_codes_the_unique_key_calls_equal_the_first_is_stored_and_the_rest_rejected(
    tenant: SyncedTenant, collation: str, other: str
) -> None:
    collate(tenant, collation)
    items = [latte(item_code="LAT"), latte(item_code=other, modifier_groups=(MILK,)), latte(item_code="TEA")]
    report = tenant.sync(*items)
    assert (report.items.inserted, report.items_in_snapshot, report.rejected) == (2, 2, 1)
    assert [row["item_code"] for row in tenant.rows("SELECT item_code FROM items ORDER BY item_code")] == ["LAT", "TEA"]
    assert report.rejections[0].item_code == other
    assert repr(other) in report.rejections[0].reason
    assert "'LAT'" in report.rejections[0].reason
    assert tenant.rows("SELECT * FROM item_modifiers") == []
    state = tenant.state("items")
    again = tenant.sync(*items)
    assert (again.unchanged, again.rejected, again.stale, again.changes_path) == (2, 1, 0, None)
    assert tenant.state("items") == state


def test_a_stored_code_wins_over_smaller_ones_of_the_snapshot(tenant: SyncedTenant) -> None:
    tenant.sync(latte(item_code="lat"))
    report = tenant.sync(
        latte(item_code="LAT", name="Other"), latte(item_code="lat", name="New"), latte(item_code="lAT", name="Third")
    )
    [row] = tenant.rows("SELECT item_code, name FROM items")
    assert tuple(row.values()) == ("lat", "New")
    assert (report.items.updated, report.rejected, report.stale) == (1, 2, 0)
    assert all("the stored 'lat'" in rejection.reason for rejection in report.rejections)


def test_a_stored_item_whose_code_was_respelled_is_stale_and_left_alone(tenant: SyncedTenant) -> None:
    tenant.sync(latte(item_code="lat"), latte())
    before = tenant.item("lat")
    report = tenant.sync(latte(item_code="LAT", name="Other"), latte())
    assert (report.stale, report.stale_codes, report.rejected) == (1, ("lat",), 1)
    assert tenant.item("lat") == before


def test_many_collisions_are_refused_like_any_rejected_rows(tenant: SyncedTenant) -> None:
    codes = [f"{prefix}-{number}" for number in range(21) for prefix in ("LAT", "lat")]
    with pytest.raises(GuardRefusedError, match="21 of 42 rows were rejected"):
        tenant.sync(*[latte(item_code=code) for code in codes])


def test_colliding_modifiers_cost_only_themselves_and_hide_nothing(tenant: SyncedTenant) -> None:
    shouted = ModifierGroup("G-MILK", "Milk!", (Modifier("m-soy", "Soy"),))
    tenant.sync(latte(modifier_groups=(MILK,)))
    report = tenant.sync(latte(modifier_groups=(shouted, SUGAR)))
    assert (report.children_rejected, report.rejected) == (1, 0)
    assert (report.children.inserted, report.children.hidden) == (3, 0)
    groups = tenant.rows("SELECT modifier_code, name, visible FROM item_modifiers ORDER BY modifier_code")
    assert [tuple(row.values()) for row in groups] == [("g-milk", "Milk", 1), ("g-sugar", "Sugar", 1)]
    both = tenant.sync(latte(item_code="NEW", modifier_groups=(shouted, MILK)))
    assert (both.children_rejected, both.children.inserted) == (1, 2)


def test_a_column_of_another_character_set_is_refused_by_name(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items MODIFY category varchar(255) CHARACTER SET latin1")
    tenant.edit("ALTER TABLE item_modifiers MODIFY name varchar(255) CHARACTER SET latin1")
    with pytest.raises(ContractError) as error:
        tenant.sync(latte())
    assert "items.category is stored in latin1; expected utf8mb4" in str(error.value)
    assert "item_modifiers.name is stored in latin1; expected utf8mb4" in str(error.value)


def test_what_utf8mb3_cannot_hold_costs_only_its_row(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items CONVERT TO CHARACTER SET utf8mb3")
    tenant.edit("ALTER TABLE item_modifiers CONVERT TO CHARACTER SET utf8mb3")
    sweet = ModifierGroup("g-\U0001f36c", "Sweet", ())
    items = [
        latte(name="L\u00e4tte \u2615", modifier_groups=(MILK, sweet)),
        latte(item_code="CAKE", name="Cake \U0001f370"),
        latte(item_code="T\U0001f375"),
    ]
    report = tenant.sync(*items)
    assert (report.items.inserted, report.rejected, report.children_rejected) == (1, 2, 1)
    assert report.rejections[0].reason == (
        "original_name holds a 4-byte character, such as an emoji; the column takes none (utf8mb3)"
    )
    assert tenant.item("LAT-L")["name"] == "L\u00e4tte \u2615"
    assert tenant.sync(*items).unchanged == 1


def test_a_unique_key_on_first_characters_does_not_count(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items DROP KEY items_item_code_key, ADD UNIQUE KEY first_ten (item_code(10))")
    with pytest.raises(ContractError, match=r"items has no unique key on \(item_code\)"):
        tenant.sync(latte())


def test_a_text_longer_than_its_column_in_bytes_leaves_what_is_stored(tenant: SyncedTenant) -> None:
    longest, longer = "\u00e4" * 32767 + "a", "\u00e4" * 32768
    report = tenant.sync(latte(description=longest), latte(item_code="LONG", description=longer))
    assert (report.items.inserted, report.rejected) == (2, 0)
    assert report.warnings == ("LONG: description has 65536 bytes; the column takes 65535; what is stored stays",)
    assert (tenant.item("LAT-L")["description"], tenant.item("LONG")["description"]) == (longest, None)


def test_columns_of_a_schema_next_door_are_not_read(tenant: SyncedTenant, request: pytest.FixtureRequest) -> None:
    next_door: Callable[[], URL] = request.getfixturevalue(f"new_{tenant.engine_name}_database")
    neighbour = sa.create_engine(next_door(), poolclass=sa.NullPool)
    with neighbour.begin() as connection:
        connection.execute(sa.text("ALTER TABLE items ADD COLUMN kitchen text NOT NULL"))
    tenant.edit("ALTER TABLE items DROP COLUMN category")
    assert "column items.category is absent" in tenant.sync(latte()).skipped


HARD_TEXTS = (
    "tab\there",
    "line\nbreak\r\n",
    "back\\slash\\",
    "\\N",
    "\\",
    "NULL",
    "",
    " ",
    'it\'s "quoted"',
    "'; DROP TABLE items; --",
    "comma, (bracket) %s {x}",
    "\x1a\x08\x7f",
    "\u00e9\u2615\U0001f370",
    None,
)


@pytest.mark.parametrize("local_infile", [1, 0])
def test_every_byte_arrives_whether_by_file_or_by_statement(
    tenant: SyncedTenant, set_server: Callable[[str, int], None], local_infile: int
) -> None:
    set_server("local_infile", local_infile)
    items = [
        latte(
            item_code=f"I{number:02}",
            name=text or "empty",
            description=text,
            category=text,
            variant_options=(VariantOption(text or "", "\\N"),),
        )
        for number, text in enumerate(HARD_TEXTS)
    ]
    assert tenant.sync(*items).items.inserted == len(items)
    rows = tenant.rows("SELECT name, description, category FROM items ORDER BY item_code")
    assert [row["description"] for row in rows] == list(HARD_TEXTS)
    assert [row["category"] for row in rows] == list(HARD_TEXTS)
    assert [row["name"] for row in rows] == [text or "empty" for text in HARD_TEXTS]
    assert tenant.sync(*items).unchanged == len(items)


def test_statements_respect_the_largest_packet_the_server_takes(
    tenant: SyncedTenant, set_server: Callable[[str, int], None]
) -> None:
    set_server("local_infile", 0)
    set_server("max_allowed_packet", 8192)
    items = [latte(item_code=f"I{number:04}", description="x" * 500) for number in range(200)]
    assert tenant.sync(*items).items.inserted == 200


@pytest.mark.parametrize("largest", [1, 60, 100, 1_000_000])
def test_insert_statements_hold_every_row_once_and_as_many_as_fit(largest: int) -> None:
    rows = pa.table({"n": pa.array(range(1, 8), pa.int32()), "t": ["a", "bb" * 30, None, "", "'", "\\", "g"]})
    statements = [statement.decode() for statement in insert_statements("`x`", rows, largest)]
    head = "INSERT INTO `x` (`n`, `t`) VALUES "
    values = ["(1,'a')", f"(2,'{'bb' * 30}')", "(3,NULL)", "(4,'')", "(5,'\\'')", "(6,'\\\\')", "(7,'g')"]
    assert ",".join(statement.removeprefix(head) for statement in statements) == ",".join(values)
    assert all(len(statement) <= largest or statement.count("),(") == 0 for statement in statements)
    assert len(statements) == {1: 7, 60: 4, 100: 3, 1_000_000: 1}[largest]


def test_a_staged_text_that_would_be_cut_is_an_error(tenant: SyncedTenant) -> None:
    with open_session(tenant.url, "run") as session:
        session._execute("CREATE TEMPORARY TABLE narrow (n int, name varchar(3))")  # type: ignore[attr-defined]
        with pytest.raises(DatabaseError, match=r"did not load the staged rows as they are: Data truncated"):
            session._load_file("narrow", pa.table({"n": [1], "name": ["four"]}))  # type: ignore[attr-defined]


def test_json_that_an_app_stored_in_its_own_spacing_is_not_written_again(tenant: SyncedTenant) -> None:
    item = latte(variant_options=(VariantOption("Size", "Large"),))
    tenant.sync(item)
    tenant.edit("""UPDATE items SET variant_options = '[{"option":"Size","value":"Large"}]'""")
    assert tenant.sync(item).unchanged == 1


def test_a_default_stands_in_for_a_missing_value_where_null_is_not_allowed(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items MODIFY category varchar(255) NOT NULL DEFAULT 'it''s new'")
    tenant.sync(latte(category=None))
    assert tenant.item("LAT-L")["category"] == "it's new"
    assert tenant.sync(latte(category=None)).unchanged == 1


def test_an_unknown_label_of_an_enumeration_leaves_what_is_stored(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items MODIFY item_type enum('standard','it''s')")
    report = tenant.sync(latte(), latte(item_code="B", item_type="it's"), latte(item_code="C", item_type="Standard"))
    assert (report.items.inserted, report.rejected) == (3, 0)
    assert report.warnings == ("C: item_type is 'Standard'; the column takes it's, standard; what is stored stays",)
    assert [row["item_type"] for row in tenant.rows("SELECT item_type FROM items ORDER BY item_code")] == [
        "it's",
        None,
        "standard",
    ]


def test_a_fraction_for_a_whole_number_costs_only_its_component(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE item_bundle_components MODIFY quantity int NOT NULL DEFAULT 1")
    components = (BundleComponent("Drink", "A", "A", "2.0"), BundleComponent("Food", "B", "B", "0.5"))
    report = tenant.sync(latte(bundle_components=components))
    assert (report.children.inserted, report.children_rejected) == (1, 1)
    assert tenant.rows("SELECT slot, quantity FROM item_bundle_components") == [{"slot": "Drink", "quantity": 2}]
    assert tenant.sync(latte(bundle_components=components)).children.updated == 0


def test_children_of_an_item_deleted_meanwhile_are_not_counted(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    tenant.before_write = lambda: tenant.edit("DELETE FROM items")
    report = tenant.sync(latte(modifier_groups=(MILK,)))
    assert (report.children.inserted, tenant.rows("SELECT * FROM item_modifiers")) == (0, [])


def test_children_of_a_rejected_item_stay_as_they_are(tenant: SyncedTenant) -> None:
    tenant.sync(latte(modifier_groups=(SUGAR, MILK)), latte(item_code="TEA"))
    before = tenant.state("item_modifiers"), tenant.state("item_modifier_options")
    report = tenant.sync(latte(name="x" * 256, modifier_groups=()), latte(item_code="TEA"))
    assert (report.rejected, report.children.hidden) == (1, 0)
    assert (tenant.state("item_modifiers"), tenant.state("item_modifier_options")) == before


def test_no_statement_names_a_temporary_table_twice_which_mysql_refuses(
    tenant: SyncedTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    run = MysqlSession._run

    def recorded(session: MysqlSession, statement: str, *others: Any) -> Any:
        statements.append(statement)
        return run(session, statement, *others)

    monkeypatch.setattr(MysqlSession, "_run", recorded)
    tenant.sync(latte(modifier_groups=(SUGAR, MILK)), latte(item_code="GONE"))
    tenant.sync(latte(name="New", modifier_groups=(SUGAR,)), latte(item_code="lat-l"), dry_run=True)
    tenant.before_write = lambda: tenant.edit("INSERT INTO items (item_code, name) VALUES ('TEA', 'Ours')")
    tenant.sync(latte(name="New", modifier_groups=(SUGAR,)), latte(item_code="TEA"), latte(item_code="tea-2"))
    named = [Counter(re.findall(r"`cata_\w+`", statement)) for statement in statements]
    assert sum(len(counts) > 1 for counts in named) > 50
    assert [counts for counts in named if any(count > 1 for count in counts.values())] == []


def test_a_row_whose_code_a_merchant_changed_meanwhile_is_another_item(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    tenant.before_write = lambda: tenant.edit("UPDATE items SET item_code = 'OURS'")
    report = tenant.sync(latte(name="New"))
    assert (report.items.inserted, report.items.updated) == (1, 0)
    assert (tenant.item("OURS")["original_name"], tenant.item("LAT-L")["name"]) == ("Latte", "New")


def test_a_table_that_somebody_alters_is_an_error_that_says_so(tenant: SyncedTenant) -> None:
    with tenant.engine.connect() as migration:
        migration.execute(sa.text("LOCK TABLES items WRITE"))
        with pytest.raises(DatabaseError, match="A table that this sync reads stayed locked"):
            tenant.sync(latte())


def test_a_session_at_another_isolation_level_writes_nothing(tenant: SyncedTenant) -> None:
    snapshot = tenant.snapshot([latte()])
    with open_session(tenant.url, "run") as session:
        contract = bind(session.contract([table.name for table in TABLES]))
        session.stage(contract, stage_tables(snapshot.table, contract).tables)
        session.plan(received=1, rejected=0)
        session._execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # type: ignore[attr-defined]
        with pytest.raises(DatabaseError, match="READ COMMITTED"):
            session.apply(patient=False, judge_refused=lambda _: None, before_commit=lambda _: None)
    assert tenant.rows("SELECT * FROM items") == []
