"""`tenants`: the registry, who is served."""

from pathlib import Path

import click

from cata_pipeline.cli.arguments import as_json, open_pipeline
from cata_pipeline.cli.printing import print_json, print_table, some


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
    outcome = open_pipeline().registry.import_tenants(wanted)
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
    entries = open_pipeline().registry.entries()
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


@tenants.command("retire")
@click.argument("tenant_ids", nargs=-1, required=True, metavar="ID...")
@as_json
def retire_tenants(tenant_ids: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Stop serving tenants. Their rows, snapshots and pictures stay."""
    retired = open_pipeline().registry.retire(tenant_ids)
    if as_json:
        print_json({"retired": retired})
    else:
        click.echo(f"retired: {some(retired)}" if retired else "All of these were retired already.")
