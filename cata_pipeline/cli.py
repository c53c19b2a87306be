"""The command line: `cata-pipeline`. Reads arguments, calls one function, prints; decides nothing itself.

Exit status: 0 all well, 1 some tenants failed, 2 wrong use or settings. With `--json`, standard output holds one JSON
object and nothing else; what is happening meanwhile goes to standard error.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from cata_pipeline.errors import CataError, UsageError

if TYPE_CHECKING:
    from cata_pipeline.orchestration.in_process import JobAnswer, TenantAnswer
    from cata_pipeline.pipeline import Pipeline
    from cata_pipeline.tenants.history import FailingPicture

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

EXIT_TENANTS_FAILED = 1
EXIT_WRONG_USE = 2
STATUS_SAMPLE = 10
"""Stale items, and failing pictures, that `status` names of each tenant."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
tenant_ids = click.argument("tenant_ids", nargs=-1, metavar="[ID]...")
everyone = click.option("--all", "everyone", is_flag=True, help="Every registered tenant.")
state_folder = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".cata"),
    show_default=True,
    help="Folder that holds the embedded servers' data.",
)


def _reporting(command: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Turn an error an operator can act on into its message and exit status 2."""

    @wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        try:
            return command(*args, **kwargs)
        except CataError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(EXIT_WRONG_USE)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cata-pipeline")
def main() -> None:
    """Keeps each tenant's catalog in step with its POS, without overwriting what its people changed."""


@main.group()
def tenants() -> None:
    """The registry: who is served."""


@tenants.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@as_json
@_reporting
def import_tenants(file: Path, as_json: bool) -> None:  # noqa: FBT001 click passes flags by name
    """Add or change the tenants in FILE (TOML). Everything is checked before anything is written."""
    from cata_pipeline.tenants.file import read_tenants

    wanted = read_tenants(file)
    outcome = _pipeline().registry.import_tenants(wanted)
    if as_json:
        _print_json(outcome.__dict__)
        return
    for word, ids in outcome.__dict__.items():
        if ids:
            click.echo(f"{word}: {', '.join(ids)}")


@tenants.command("list")
@as_json
@_reporting
def list_tenants(as_json: bool) -> None:  # noqa: FBT001
    """Every tenant that is or was served."""
    entries = _pipeline().registry.entries()
    if as_json:
        _print_json(
            {
                "tenants": {
                    entry.tenant.id: {
                        "provider": entry.tenant.provider,
                        "credentials": entry.tenant.credentials,
                        "own_database": entry.tenant.database_url is not None,
                        "options": dict(entry.tenant.options),
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
    _print_table(("tenant", "provider", "credentials", "database", "since", "retired"), rows)


@tenants.command("retire")
@click.argument("tenant_ids", nargs=-1, required=True, metavar="ID...")
@as_json
@_reporting
def retire_tenants(tenant_ids: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Stop serving tenants. Their rows, snapshots and pictures stay."""
    retired = _pipeline().registry.retire(tenant_ids)
    if as_json:
        _print_json({"retired": retired})
    else:
        click.echo(f"retired: {', '.join(retired)}" if retired else "All of these were retired already.")


def _ceilings(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    ceilings = {}
    for value in values:
        guard, sign, count = value.partition("=")
        if not sign or not count.isdecimal():
            raise click.BadParameter(f"{value!r}; expected GUARD=N, such as hide=120.")
        ceilings[guard] = int(count)
    return ceilings


@main.command()
@tenant_ids
@everyone
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
@_reporting
def sync(
    tenant_ids: tuple[str, ...],
    everyone: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    from_snapshot: str | None,
    allow: dict[str, int],
    as_json: bool,  # noqa: FBT001
) -> None:
    """Fetch the catalogs of tenants and bring their tables in step, as a recorded run in this process."""
    from cata_pipeline.reconcile.guard import check_allowances

    check_allowances(allow)
    if from_snapshot and (everyone or len(tenant_ids) != 1):
        raise UsageError("--from-snapshot replays one tenant's snapshot: name exactly one tenant.")
    config = {"dry_run": dry_run, "allow": allow}
    if from_snapshot:
        config["from_snapshot"] = from_snapshot
    _run("sync_tenants", "catalog_sync", _chosen(tenant_ids, everyone=everyone), config, as_json=as_json)


@main.command()
@tenant_ids
@everyone
@click.option("--unreferenced", is_flag=True, help="Copy nothing; report objects that no row refers to. Deletes none.")
@as_json
@_reporting
def images(tenant_ids: tuple[str, ...], everyone: bool, unreferenced: bool, as_json: bool) -> None:  # noqa: FBT001
    """Copy the product pictures of tenants that are due, as a recorded run in this process."""
    if unreferenced:
        _report_unreferenced(_chosen(tenant_ids, everyone=everyone), as_json=as_json)
        return
    _run("copy_images", "image_objects", _chosen(tenant_ids, everyone=everyone), {}, as_json=as_json)


@main.command()
@tenant_ids
@as_json
@_reporting
def status(tenant_ids: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """When each tenant was last synced and copied, how that went, and what is stale or failing."""
    pipeline = _pipeline()
    ids = [pipeline.registry.tenant(tenant_id).id for tenant_id in tenant_ids] or pipeline.registry.active_ids()
    newest = pipeline.history.newest(ids)
    failing = pipeline.history.failing_pictures(ids)
    pictures = pipeline.history.longest_failing(ids, STATUS_SAMPLE)
    stale, stale_counts = pipeline.stale_items.longest(ids, STATUS_SAMPLE), pipeline.stale_items.count(ids)
    told: dict[str, dict[str, Any]] = {}
    for tenant_id in ids:
        told[tenant_id] = {
            "failing_images": failing.get(tenant_id, 0),
            "failing_pictures": [_told_failing(picture) for picture in pictures.get(tenant_id, [])],
            "stale_items": [
                {"item_code": item.item_code, "since": item.since.isoformat(timespec="seconds")}
                for item in stale.get(tenant_id, [])
            ],
        }
        for kind in ("sync", "images"):
            run = newest.get((tenant_id, kind))
            told[tenant_id][kind] = run and {
                "run_id": run.run_id,
                "finished_at": run.finished_at.isoformat(timespec="seconds"),
                "snapshot": run.snapshot_id,
                "error": run.error,
                **run.counts,
            }
    if as_json:
        _print_json({"tenants": told})
        return
    rows = [
        (
            tenant_id,
            _last(entry["sync"]),
            str((entry["sync"] or {}).get("items_in_snapshot", "")),
            str((entry["sync"] or {}).get("stale", "")),
            _last(entry["images"]),
            str(entry["failing_images"]),
            (entry["sync"] or {}).get("error") or (entry["images"] or {}).get("error") or "",
        )
        for tenant_id, entry in told.items()
    ]
    _print_table(("tenant", "last sync", "items", "stale", "last image copy", "failing images", "problem"), rows)
    for tenant_id, entry in told.items():
        _print_some(
            f"{tenant_id}: stale items, the longest first",
            ("item code", "since"),
            [(item["item_code"], _minute(item["since"])) for item in entry["stale_items"]],
            stale_counts.get(tenant_id, 0),
        )
        _print_some(
            f"{tenant_id}: pictures that keep failing, the longest first",
            ("item code", "host", "reason", "since", "tries", "next try"),
            [
                (
                    _with_others(picture),
                    picture["host"],
                    picture["reason"],
                    _minute(picture["since"]),
                    str(picture["tries"]),
                    _minute(picture["next_try"]),
                )
                for picture in entry["failing_pictures"]
            ],
            entry["failing_images"],
        )


@main.command()
@click.argument("tenant_id", metavar="TENANT")
@click.option("--item", "item_code", metavar="CODE", help="Only what happened to this item.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many changes.")
@as_json
@_reporting
def history(tenant_id: str, item_code: str | None, limit: int, as_json: bool) -> None:  # noqa: FBT001
    """What syncs changed in TENANT's tables: when, which run, from what to what. The newest sync comes first."""
    pipeline = _pipeline()
    if tenant_id not in {entry.tenant.id for entry in pipeline.registry.entries()}:
        raise UsageError(f"No tenant {tenant_id} was ever registered. `cata-pipeline tenants list` shows all.")
    told = [
        {"at": run.finished_at.isoformat(timespec="seconds"), "run_id": run.run_id, **asdict(change)}
        for run, change in islice(pipeline.changes(tenant_id, item_code), limit)
    ]
    if as_json:
        _print_json({"tenant": tenant_id, "changes": told})
        return
    if not told:
        click.echo("No sync has changed anything here.")
        return
    names = ("at", "run", "table", "action", "item_code", "column", "old", "new")
    rows = [(_minute(row["at"]), row["run_id"][:8], *(str(row[name] or "") for name in names[2:])) for row in told]
    _print_table(names, rows)


@main.command()
@state_folder
@as_json
@_reporting
def demo(state: Path, as_json: bool) -> None:  # noqa: FBT001
    """The whole story on embedded servers: three tenants, edits on both sides, and what became of each."""
    from rich.console import Console

    from cata_pipeline.demo.story import tell

    endings = tell(state, Console(stderr=as_json))
    if as_json:
        cases = [
            {
                "case": ending.case.title,
                "rule": ending.case.rule,
                "held": ending.held,
                "tenants": {tenant_id: asdict(verdict) for tenant_id, verdict in ending.verdicts.items()},
            }
            for ending in endings
        ]
        _print_json({"cases": cases})
    sys.exit(0 if all(ending.held for ending in endings) else EXIT_TENANTS_FAILED)


@main.command()
@state_folder
@click.option("--port", default=3000, show_default=True, help="Port of the Dagster UI.")
@as_json
@_reporting
def dev(state: Path, port: int, as_json: bool) -> None:  # noqa: FBT001
    """The embedded servers, the demo tenants' POS and the Dagster UI with its daemon, until Ctrl-C."""
    from cata_pipeline.demo.development import serve

    def announce(url: str, environment: Path) -> None:
        if as_json:
            _print_json({"url": url, "environment": str(environment)})
            return
        click.echo(f"Dagster UI: {url}  (Ctrl-C ends everything)")
        click.echo(f"Second terminal: . {os.path.relpath(environment)} && cata-pipeline status")

    sys.exit(serve(state, port, announce))


def _pipeline() -> "Pipeline":
    from cata_pipeline.pipeline import Pipeline
    from cata_pipeline.settings import Settings

    return Pipeline(Settings.from_environment())


def _chosen(tenant_ids: Sequence[str], *, everyone: bool) -> list[str]:
    if bool(tenant_ids) == everyone:
        raise UsageError("Name the tenants, or say --all for every registered one.")
    registry = _pipeline().registry
    active = registry.active_ids()
    if everyone:
        if not active:
            raise UsageError("No tenant is registered yet. Import some with `cata-pipeline tenants import FILE.toml`.")
        return list(active)
    wanted = list(dict.fromkeys(tenant_ids))
    if unknown := [tenant_id for tenant_id in wanted if tenant_id not in set(active)]:
        raise UsageError(f"Not registered, or retired: {', '.join(unknown)}. `cata-pipeline tenants list` shows all.")
    return wanted


def _run(job: str, op: str, ids: list[str], config: Mapping[str, Any], *, as_json: bool) -> None:
    from rich.console import Console

    from cata_pipeline.orchestration.in_process import open_instance, run_in_process
    from cata_pipeline.progress_bars import progress_bars

    bars = progress_bars(Console(stderr=True), len(ids), pictures=job == "copy_images", tell_each=as_json)
    with open_instance() as instance, bars:
        answer = run_in_process(job, op, ids, config, instance)
    if as_json:
        _print_json(
            {"run_id": answer.run_id, "tenants": {name: _told(tenant) for name, tenant in answer.tenants.items()}}
        )
    else:
        _print_run(answer, dry_run=bool(config.get("dry_run")))
    if not answer.ok:
        sys.exit(EXIT_TENANTS_FAILED)


def _report_unreferenced(ids: list[str], *, as_json: bool) -> None:
    pipeline = _pipeline()
    told: dict[str, dict[str, Any]] = {}
    for tenant_id in ids:
        try:
            told[tenant_id] = {"ok": True, **asdict(pipeline.unreferenced_images(tenant_id))}
        except CataError as error:
            told[tenant_id] = {"ok": False, "error": str(error)}
    if as_json:
        _print_json({"run_id": None, "tenants": told})
    else:
        _print_unreferenced(told)
    if not all(entry["ok"] for entry in told.values()):
        sys.exit(EXIT_TENANTS_FAILED)


def _print_unreferenced(told: Mapping[str, Mapping[str, Any]]) -> None:
    piles = ("unreferenced", "former", "recent")
    rows = [
        (tenant_id, *(str(entry[pile][figure]) for pile in piles for figure in ("objects", "bytes")))
        for tenant_id, entry in told.items()
        if entry["ok"]
    ]
    _print_table(("tenant", *(name for pile in piles for name in (pile, "bytes"))), rows)
    for tenant_id, entry in told.items():
        if not entry["ok"]:
            click.echo(f"{tenant_id}: FAILED: {entry['error']}")
            continue
        for name in entry["unreferenced"]["sample"]:
            click.echo(f"{tenant_id}: unreferenced: {name}")
        left_out = entry["unreferenced"]["objects"] - len(entry["unreferenced"]["sample"])
        if left_out:
            click.echo(f"{tenant_id}: and {left_out} more")
    click.echo(
        "Nothing was deleted. Former copies are known as ours and shown again if their picture comes back; recent"
        " objects may be about to be shown."
    )


def _told(tenant: "TenantAnswer") -> dict[str, Any]:
    if tenant.error is not None:
        return {"ok": False, "error": tenant.error, "run_id": tenant.run_id}
    return {"ok": True, "run_id": tenant.run_id, **{key: _plain(value) for key, value in tenant.metadata.items()}}


def _plain(value: Any) -> Any:
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
        for name in ("changes", "failures"):
            _print_records(_plain(tenant.metadata.get(name, [])))
        if dry_run:
            _print_plan(tenant.metadata)
    click.echo(f"run {answer.run_id}")


def _print_plan(metadata: Mapping[str, Any]) -> None:
    """What the table of changes leaves out of a dry run's plan, and what the guards say of it."""
    left_out = metadata["plan_rows"] - len(_plain(metadata.get("changes", [])))
    if left_out > 0:
        click.echo(f"and {left_out} more rows: {metadata.get('plan_file', 'their file could not be stored')}")
    _print_records(_plain(metadata["guards"]))
    if refused := metadata.get("guards_would_refuse"):
        click.echo(f"The guards would refuse this plan:\n{refused}")
    else:
        click.echo("The guards would let this plan through.")


def _told_failing(picture: "FailingPicture") -> dict[str, Any]:
    from cata_pipeline.images.picture_url import host_of

    return {
        "item_code": picture.item_code,
        "items": picture.items,
        "host": host_of(picture.url),
        "reason": picture.reason,
        "since": picture.since.isoformat(timespec="seconds"),
        "tries": picture.tries,
        "next_try": picture.next_try_at.isoformat(timespec="seconds"),
    }


def _with_others(picture: Mapping[str, Any]) -> str:
    others = picture["items"] - 1
    return f"{picture['item_code'] or ''}{f' and {others} more' if others > 0 else ''}"


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _last(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return "never"
    return f"{_minute(run['finished_at'])} {'FAILED' if run['error'] else 'ok'}"


def _print_json(value: Mapping[str, Any]) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        # As they are: an item code may hold what rich takes for markup.
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(file=sys.stdout).print(table)


def _print_records(records: Sequence[Mapping[str, str]]) -> None:
    if records:
        _print_table(tuple(records[0]), [tuple(record.values()) for record in records])


def _print_some(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> None:
    """A table of the first of `total` rows, if there are any, and how many more there are."""
    if not rows:
        return
    click.echo(f"\n{title}")
    _print_table(names, rows)
    if total > len(rows):
        click.echo(f"and {total - len(rows)} more")
