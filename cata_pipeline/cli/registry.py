"""`tenants`: the registry, who is served."""

import sys
from pathlib import Path

import click

from cata_pipeline.cli.arguments import EXIT_TENANTS_FAILED, as_json, chosen, everyone, open_pipeline, tenant_ids
from cata_pipeline.cli.printing import print_json, print_table, some
from cata_pipeline.errors import TenantError, UsageError


@click.group()
def tenants() -> None:
    """The registry: who is served."""


@tenants.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@as_json
def import_tenants(file: Path, as_json: bool) -> None:  # noqa: FBT001 click passes flags by name
    """Add or change the tenants in FILE (TOML). Everything is checked before anything is written."""
    from cata_pipeline.tenants.file import read_tenants

    wanted = read_tenants(file)
    outcome = open_pipeline().import_tenants(wanted)
    if as_json:
        print_json(outcome.__dict__)
        return
    for word, ids in outcome.__dict__.items():
        if ids:
            click.echo(f"{word}: {some(ids)}")


@tenants.command("list")
@as_json
def list_tenants(as_json: bool) -> None:  # noqa: FBT001
    """Every tenant that is or was served."""
    pipeline = open_pipeline()
    entries, owned = pipeline.registry.entries(), pipeline.database_owners.on_record()
    if as_json:
        print_json(
            {
                "tenants": {
                    entry.tenant.id: {
                        "provider": entry.tenant.provider,
                        "credentials": entry.tenant.credentials,
                        "own_database": entry.tenant.database_url is not None,
                        "options": entry.tenant.options,
                        "created_at": entry.created_at.isoformat(),
                        "retired_at": entry.retired_at.isoformat() if entry.retired_at else None,
                        **({"items_table": owned[entry.tenant.id]} if entry.tenant.id in owned else {}),
                    }
                    for entry in entries
                }
            }
        )
        return
    rows = [
        (
            entry.tenant.id,
            entry.tenant.provider,
            entry.tenant.credentials,
            "its own" if entry.tenant.database_url else "template",
            f"{entry.created_at:%Y-%m-%d}",
            f"{entry.retired_at:%Y-%m-%d}" if entry.retired_at else "",
        )
        for entry in entries
    ]
    print_table(("tenant", "provider", "credentials", "database", "since", "retired"), rows)


@tenants.command("claim")
@tenant_ids
@everyone
@click.option("--from", "former", metavar="ID", help="The tenant that the table belongs to until now.")
@as_json
def claim_databases(tenant_ids: tuple[str, ...], everyone: bool, former: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Give tenants the items table that their database URL leads to.

    A sync refuses a table of another tenant, and one that is not where the tenant's items were. With --all, only the
    server may differ, as after a failover.
    """
    if former and (everyone or len(tenant_ids) != 1):
        raise UsageError("--from moves one table: name exactly one tenant.")
    pipeline = open_pipeline()
    outcomes: dict[str, dict[str, object]] = {}
    for tenant_id in chosen(tenant_ids, everyone=everyone):
        try:
            claimed = pipeline.claim_database(tenant_id, former=former, only_server=everyone)
        except (TenantError, UsageError) as error:
            outcomes[tenant_id] = {"ok": False, "error": str(error)}
        else:
            outcomes[tenant_id] = {"ok": True, "claimed": claimed}
    if as_json:
        print_json({"tenants": outcomes})
    else:
        for tenant_id, outcome in outcomes.items():
            result = "claimed" if outcome.get("claimed") else "nothing to change"
            click.echo(f"{tenant_id}: {result if outcome['ok'] else 'FAILED: ' + str(outcome['error'])}")
    if not all(outcome["ok"] for outcome in outcomes.values()):
        sys.exit(EXIT_TENANTS_FAILED)


@tenants.command("retire")
@click.argument("tenant_ids", nargs=-1, required=True, metavar="ID...")
@as_json
def retire_tenants(tenant_ids: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Stop serving tenants. Their rows, snapshots and pictures stay, and their tables stay theirs."""
    retired = open_pipeline().registry.retire(tenant_ids)
    if as_json:
        print_json({"retired": retired})
    else:
        click.echo(f"retired: {some(retired)}" if retired else "All of these were retired already.")
