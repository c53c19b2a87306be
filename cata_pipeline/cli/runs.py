"""`sync` and `images`: recorded Dagster runs in this process, and what they answer."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cata_pipeline.cli.arguments import EXIT_TENANTS_FAILED, as_json, chosen, everyone, tenant_ids
from cata_pipeline.cli.printing import print_json, print_records
from cata_pipeline.cli.streams import drawing_console
from cata_pipeline.cli.unreferenced import report_unreferenced
from cata_pipeline.errors import UsageError

if TYPE_CHECKING:
    from cata_pipeline.orchestration.in_process import JobAnswer, TenantAnswer


def _ceilings(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    ceilings = {}
    for value in values:
        guard, sign, count = value.partition("=")
        if not sign or not count.isdecimal():
            raise click.BadParameter(f"{value!r}; expected GUARD=N, such as hide=120.")
        ceilings[guard] = int(count)
    return ceilings


@click.command()
@tenant_ids
@everyone
@click.option("--failed", is_flag=True, help="Every tenant whose newest sync failed.")
@click.option("--dry-run", is_flag=True, help="Stop after the plan and show it; write nothing.")
@click.option("--from-snapshot", metavar="SNAPSHOT", help="Apply this stored snapshot instead of fetching one.")
@click.option(
    "--allow",
    multiple=True,
    metavar="GUARD=N",
    callback=_ceilings,
    help="Ceiling that lets this one run pass a guard. Repeatable.",
)
@as_json
def sync(
    tenant_ids: tuple[str, ...],
    everyone: bool,  # noqa: FBT001
    failed: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    from_snapshot: str | None,
    allow: dict[str, int],
    as_json: bool,  # noqa: FBT001
) -> None:
    """Fetch the catalogs of tenants and bring their tables in step, as a recorded run in this process."""
    from cata_pipeline.reconcile.guard import check_allowances

    check_allowances(allow)
    if from_snapshot and (everyone or failed or len(tenant_ids) != 1):
        raise UsageError("--from-snapshot replays one tenant's snapshot: name exactly one tenant.")
    config = {"dry_run": dry_run, "allow": allow}
    if from_snapshot:
        config["from_snapshot"] = from_snapshot
    ids = chosen(tenant_ids, everyone=everyone, failed="sync" if failed else None)
    if not ids:
        _tell_none_failed("sync", as_json=as_json)
        return
    _run("sync_tenants", "catalog_sync", ids, config, as_json=as_json)


@click.command()
@tenant_ids
@everyone
@click.option("--failed", is_flag=True, help="Every tenant whose newest image copy failed.")
@click.option("--unreferenced", is_flag=True, help="Copy nothing; report objects that no row refers to. Deletes none.")
@as_json
def images(
    tenant_ids: tuple[str, ...],
    everyone: bool,  # noqa: FBT001
    failed: bool,  # noqa: FBT001
    unreferenced: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Copy the product pictures of tenants that are due, as a recorded run in this process."""
    if unreferenced and failed:
        raise UsageError(
            "--unreferenced copies nothing, so --failed says nothing to it: name the tenants, or say --all."
        )
    ids = chosen(tenant_ids, everyone=everyone, failed="images" if failed else None)
    if unreferenced:
        report_unreferenced(ids, as_json=as_json)
    elif ids:
        _run("copy_images", "image_objects", ids, {}, as_json=as_json)
    else:
        _tell_none_failed("image copy", as_json=as_json)


def _tell_none_failed(work: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"run_id": None, "tenants": {}})
    else:
        click.echo(f"Nothing failed: no tenant's newest {work} ended with an error.")


def _run(job: str, op: str, ids: list[str], config: Mapping[str, Any], *, as_json: bool) -> None:
    from cata_pipeline.cli.progress_bars import progress_bars
    from cata_pipeline.orchestration.in_process import open_instance, run_in_process

    bars = progress_bars(drawing_console(stderr=True), len(ids), pictures=job == "copy_images", tell_each=as_json)
    with open_instance() as instance, bars:
        answer = run_in_process(job, op, ids, config, instance)
    if answer.incomplete:
        click.echo(f"Warning: {answer.incomplete}", err=True)
    if as_json:
        warning = {"warning": answer.incomplete} if answer.incomplete else {}
        tenants = {name: _told(tenant) for name, tenant in answer.tenants.items()}
        print_json({"run_id": answer.run_id, "tenants": tenants, **warning})
    else:
        _print_run(answer, dry_run=bool(config.get("dry_run")))
    if not answer.ok:
        sys.exit(EXIT_TENANTS_FAILED)


def _told(tenant: "TenantAnswer") -> dict[str, Any]:
    if tenant.error is not None:
        return {"ok": False, "error": tenant.error, "run_id": tenant.run_id}
    return {"ok": True, "run_id": tenant.run_id, **{key: plain(value) for key, value in tenant.metadata.items()}}


def plain(value: Any) -> Any:
    """A metadata value as JSON has it: tables become lists of objects, their keys in the order of the columns."""
    records = getattr(value, "records", None)
    if records is None:
        return value
    return [{column.name: record.data[column.name] for column in value.schema.columns} for record in records]


def _print_run(answer: "JobAnswer", *, dry_run: bool) -> None:
    for tenant_id, tenant in answer.tenants.items():
        if tenant.error is not None:
            click.echo(f"{tenant_id}: FAILED: {tenant.error}")
            continue
        numbers = {key: value for key, value in tenant.metadata.items() if isinstance(value, int | float) and value}
        told = ", ".join(f"{key} {value}" for key, value in numbers.items() if "/" not in key)
        click.echo(f"{tenant_id}: {'dry run, nothing written: ' if dry_run else ''}{told or 'nothing to do'}")
        for name in ("changes", "rejected_sample", "failures"):
            print_records(plain(tenant.metadata.get(name, [])))
        if warnings := tenant.metadata.get("warnings"):
            click.echo(warnings)
        if dry_run:
            _print_plan(tenant.metadata)
    click.echo(f"run {answer.run_id}")


def _print_plan(metadata: Mapping[str, Any]) -> None:
    """What the table of changes leaves out of a dry run's plan, and what the guards say of it."""
    left_out = metadata["plan_rows"] - len(plain(metadata.get("changes", [])))
    if left_out > 0:
        click.echo(f"and {left_out} more rows: {metadata.get('plan_file', 'their file could not be stored')}")
    print_records(plain(metadata["guards"]))
    if refused := metadata.get("guards_would_refuse"):
        click.echo(f"The guards would refuse this plan:\n{refused}")
    else:
        click.echo("The guards would let this plan through.")
