"""What a tenant database quotes of a product reaches errors and metadata as text, on every engine."""

import dagster as dg
import pytest

from cata_pipeline.errors import GuardRefusedError
from cata_pipeline.foreign_text import one_line
from cata_pipeline.orchestration.metadata import sync_events
from cata_pipeline.outcomes import SyncOutcome
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte
from cata_pipeline_tests.test_foreign_text import HOSTILE

ENGINES = EVERY_ENGINE
REFUSING = {
    False: """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.item_code = 'LAT-L' THEN
            RAISE EXCEPTION 'no name like %%', NEW.name USING DETAIL = NEW.name, ERRCODE = '23514';
        END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION refuse()
    """,
    True: """
        CREATE TRIGGER refuse BEFORE INSERT ON items FOR EACH ROW BEGIN
        DECLARE reason text DEFAULT LEFT(CONCAT('no name like ', NEW.name), 120);
        IF NEW.item_code = 'LAT-L' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = reason; END IF; END
    """,
}


def is_plain(text: str) -> bool:
    return text == one_line(text)


@pytest.fixture
def refusing(tenant: SyncedTenant) -> SyncedTenant:
    """The tenant, whose database refuses a product and quotes its name."""
    with tenant.engine.begin() as connection:
        connection.exec_driver_sql(REFUSING[tenant.on_mysql])
    return tenant


def test_a_refusal_of_the_guard_quotes_the_database_escaped(refusing: SyncedTenant) -> None:
    with pytest.raises(GuardRefusedError) as error:
        refusing.sync(latte(name=HOSTILE))
    assert "owned" in str(error.value)
    assert is_plain(str(error.value))


def test_a_rejection_quotes_the_database_escaped(refusing: SyncedTenant) -> None:
    others = [latte(item_code=f"OTHER-{number}") for number in range(3)]
    refusing.sync(*others)
    [rejection] = refusing.sync(latte(name=HOSTILE), *others).rejections
    assert "owned" in rejection.reason
    assert is_plain(rejection.reason)


def test_markdown_of_the_ui_holds_no_link_of_a_merchant(refusing: SyncedTenant) -> None:
    snapshot = refusing.snapshot([latte(item_code="OTHER")])
    report = refusing.apply(snapshot)
    hostile = SyncOutcome(
        "kopi-kita",
        snapshot=snapshot.record,
        report=report.__class__(**{**report.__dict__, "warnings": (f"``{HOSTILE}",)}),
    )
    [event] = [e for e in sync_events(hostile, "bucket", dry_run=False) if isinstance(e, dg.AssetMaterialization)]
    [line] = str(event.metadata["warnings"].value).splitlines()
    fence = "`" * 3
    assert line.startswith(f"- {fence} ")
    assert line.endswith(f" {fence}")
    assert "\x1b" not in line
