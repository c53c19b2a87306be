"""The registry, on a real control database."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.errors import TenantError, UsageError
from cata_pipeline.tenants.history import EndedRun, History
from cata_pipeline.tenants.model import Tenant
from cata_pipeline.tenants.registry import ImportOutcome, Registry, Served

KOPI = Tenant("kopi-kita", "iseller", "env:KOPI", options={"store_url": "https://kopi.example", "pages": [1, 2]})
ROTI = Tenant("roti", "iseller", "env:ROTI", database_url="env:ROTI_DB")


@pytest.fixture
def registry(control: Engine) -> Registry:
    return Registry(control)


def row_versions(control: Engine) -> dict[str, str]:
    with control.connect() as connection:
        return {row.id: row.xmin for row in connection.execute(sa.text("SELECT id, xmin::text FROM tenants"))}


def test_a_first_import_adds_every_tenant(registry: Registry) -> None:
    assert registry.import_tenants([ROTI, KOPI]) == ImportOutcome(("kopi-kita", "roti"), (), (), ())
    assert registry.active() == [KOPI, ROTI]


def test_importing_the_same_again_writes_no_row(registry: Registry, control: Engine) -> None:
    registry.import_tenants([KOPI, ROTI])
    before = row_versions(control)
    assert registry.import_tenants([KOPI, ROTI]) == ImportOutcome((), (), ("kopi-kita", "roti"), ())
    assert row_versions(control) == before


@pytest.mark.parametrize(
    "changed",
    [
        replace(KOPI, provider="feed"),
        replace(KOPI, credentials="env:OTHER"),
        replace(KOPI, database_url="env:KOPI_DB"),
        replace(KOPI, options={}),
    ],
)
def test_an_import_writes_only_the_changed_tenant(registry: Registry, control: Engine, changed: Tenant) -> None:
    registry.import_tenants([KOPI, ROTI])
    before = row_versions(control)
    assert registry.import_tenants([changed, ROTI]) == ImportOutcome((), ("kopi-kita",), ("roti",), ())
    assert registry.tenant("kopi-kita") == changed
    after = row_versions(control)
    assert (after["kopi-kita"] != before["kopi-kita"], after["roti"] == before["roti"]) == (True, True)


def test_an_id_that_differs_from_a_registered_one_only_in_case_is_rejected(registry: Registry) -> None:
    registry.import_tenants([KOPI, ROTI])
    registry.retire(["roti"])
    for new in ("KOPI-kita", "Roti"):
        with pytest.raises(UsageError, match=rf"'{new}' \(beside '{new.lower()}'\)"):
            registry.import_tenants([KOPI, replace(KOPI, id=new)])
    assert registry.import_tenants([KOPI, ROTI]) == ImportOutcome((), (), ("kopi-kita",), ("roti",))


def test_an_import_leaves_tenants_alone_that_it_does_not_name(registry: Registry) -> None:
    registry.import_tenants([KOPI])
    registry.import_tenants([ROTI])
    assert registry.active_ids() == ["kopi-kita", "roti"]


def test_an_import_that_fails_halfway_writes_nothing(registry: Registry) -> None:
    refused = replace(ROTI, provider=None)  # type: ignore[arg-type]
    with pytest.raises(sa.exc.IntegrityError):
        registry.import_tenants([KOPI, refused])
    assert registry.entries() == []


def test_importing_nothing_changes_nothing(registry: Registry) -> None:
    assert registry.import_tenants([]) == ImportOutcome((), (), (), ())


def test_a_retired_tenant_is_no_longer_served_but_still_listed(registry: Registry) -> None:
    registry.import_tenants([KOPI, ROTI])
    assert registry.retire(["roti"]) == ["roti"]
    assert (registry.active_ids(), registry.retired_ids()) == (["kopi-kita"], ["roti"])
    assert registry.active() == [KOPI]
    assert [(entry.tenant, entry.retired_at is None) for entry in registry.entries()] == [(KOPI, True), (ROTI, False)]


def test_retiring_again_changes_nothing(registry: Registry) -> None:
    registry.import_tenants([KOPI])
    registry.retire(["kopi-kita"])
    retired_at = registry.entries()[0].retired_at
    assert registry.retire(["kopi-kita"]) == []
    assert registry.entries()[0].retired_at == retired_at


def test_importing_a_retired_tenant_revives_it_with_what_the_file_says(registry: Registry) -> None:
    registry.import_tenants([KOPI, ROTI])
    created_at = registry.entries()[0].created_at
    registry.retire(["kopi-kita", "roti"])
    changed = replace(KOPI, credentials="env:NEW")
    assert registry.import_tenants([changed]) == ImportOutcome((), (), (), ("kopi-kita",))
    assert registry.tenant("kopi-kita") == changed
    assert registry.entries()[0].created_at == created_at
    assert registry.retired_ids() == ["roti"]


def test_a_tenant_is_served_since_its_registration_or_the_latest_one_after_a_retirement(registry: Registry) -> None:
    registry.import_tenants([KOPI])
    [entry], served = registry.entries(), registry.served()
    assert served == {"kopi-kita": Served(entry.created_at, synced=False)}
    registry.import_tenants([replace(KOPI, credentials="env:NEW"), ROTI])
    assert registry.served()["kopi-kita"] == served["kopi-kita"]
    registry.retire(["kopi-kita"])
    assert registry.served().keys() == {"roti"}
    registry.import_tenants([KOPI])
    assert registry.served()["kopi-kita"].since > served["kopi-kita"].since


def test_a_tenant_counts_as_synced_once_a_sync_is_recorded_whatever_became_of_it_and_anew_when_it_is_revived(
    registry: Registry, control: Engine
) -> None:
    registry.import_tenants([KOPI, ROTI])
    copy = EndedRun("roti", "images", "r", 1.0, None, None, None, {"uploaded": 1})
    failed = EndedRun("kopi-kita", "sync", "r", 1.0, None, None, "The POS is down.", {})
    for run in (copy, failed):
        History(control).record(run)
    assert {name: each.synced for name, each in registry.served().items()} == {"kopi-kita": True, "roti": False}
    registry.retire(["kopi-kita"])
    registry.import_tenants([KOPI])
    assert not registry.served()["kopi-kita"].synced


def test_retiring_unknown_tenants_names_them_all_and_retires_none(registry: Registry) -> None:
    registry.import_tenants([KOPI])
    with pytest.raises(UsageError, match=r"Not registered: 'a', 'b'\. Nothing was retired\."):
        registry.retire(["b", "kopi-kita", "a"])
    assert registry.active_ids() == ["kopi-kita"]


def test_asking_for_an_unknown_tenant_says_how_to_register_it(registry: Registry) -> None:
    with pytest.raises(TenantError, match=r"'nobody' is not registered\. .* tenants import FILE\.toml"):
        registry.tenant("nobody")


def test_asking_for_a_retired_tenant_says_that_it_was_retired(registry: Registry) -> None:
    registry.import_tenants([KOPI])
    registry.retire(["kopi-kita"])
    with pytest.raises(TenantError, match=r"'kopi-kita' was retired on \d{4}-\d\d-\d\d\. To serve it again, run"):
        registry.tenant("kopi-kita")


def test_entries_tell_when_a_tenant_came_and_was_last_changed(registry: Registry) -> None:
    registry.import_tenants([KOPI])
    first = registry.entries()[0]
    assert first.created_at == first.updated_at
    assert first.created_at.tzinfo is not None
    registry.import_tenants([replace(KOPI, credentials="env:NEW")])
    second = registry.entries()[0]
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at


def test_ten_thousand_tenants_are_imported_and_retired_at_once(registry: Registry) -> None:
    many = [replace(KOPI, id=f"tenant-{number:05}") for number in range(10_000)]
    ids = [tenant.id for tenant in many]
    assert registry.import_tenants(many).added == tuple(ids)
    assert registry.import_tenants(many).unchanged == tuple(ids)
    assert registry.retire(ids) == ids
