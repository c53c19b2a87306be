"""`history`: what syncs changed."""

from dataclasses import asdict
from itertools import islice

import click

from cata_pipeline.cli.arguments import as_json, open_pipeline
from cata_pipeline.cli.printing import minute, print_json, print_table
from cata_pipeline.errors import UsageError


@click.command()
@click.argument("tenant_id", metavar="TENANT")
@click.option("--item", "item_code", metavar="CODE", help="Only what happened to this item.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many changes.")
@as_json
def history(tenant_id: str, item_code: str | None, limit: int, as_json: bool) -> None:  # noqa: FBT001
    """What syncs changed in TENANT's tables: when, which run, from what to what. The newest sync comes first."""
    pipeline = open_pipeline()
    if tenant_id not in {entry.tenant.id for entry in pipeline.registry.entries()}:
        raise UsageError(f"No tenant {tenant_id} was ever registered. `cata-pipeline tenants list` shows all.")
    told = [
        {"at": run.finished_at.isoformat(timespec="seconds"), "run_id": run.run_id, **asdict(change)}
        for run, change in islice(pipeline.changes(tenant_id, item_code), limit)
    ]
    if as_json:
        print_json({"tenant": tenant_id, "changes": told})
        return
    if not told:
        click.echo("No sync has changed anything here.")
        return
    names = ("at", "run", "table", "action", "item_code", "column", "old", "new")
    rows = [(minute(row["at"]), row["run_id"][:8], *(str(row[name] or "") for name in names[2:])) for row in told]
    print_table(names, rows)
