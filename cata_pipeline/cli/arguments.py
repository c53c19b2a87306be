"""What commands have in common: options, exit statuses, and whom they serve."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cata_pipeline.errors import UsageError

if TYPE_CHECKING:
    from cata_pipeline.pipeline import Pipeline

EXIT_TENANTS_FAILED = 1
EXIT_WRONG_USE = 2

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


def open_pipeline() -> "Pipeline":
    """The pipeline that the environment describes; raises `SettingsError`."""
    from cata_pipeline.pipeline import Pipeline
    from cata_pipeline.settings import Settings

    return Pipeline(Settings.from_environment())


def chosen(tenant_ids: Sequence[str], *, everyone: bool, failed: str | None = None) -> list[str]:
    """The tenants that a command is to serve; raises `UsageError` for none, unknown and retired ones.

    `failed` (sync or images) chooses those whose newest run of that kind failed: none of them is an answer too.
    """
    if [bool(tenant_ids), everyone, failed is not None].count(True) != 1:
        raise UsageError("Name the tenants, or say --all for every registered one.")
    if failed is not None:
        from cata_pipeline.tenants.fleet import failed_ids

        return failed_ids(open_pipeline().control, failed)
    registry = open_pipeline().registry
    active = registry.active_ids()
    if everyone:
        if not active:
            raise UsageError("No tenant is registered yet. Import some with `cata-pipeline tenants import FILE.toml`.")
        return list(active)
    wanted = list(dict.fromkeys(tenant_ids))
    if unknown := [tenant_id for tenant_id in wanted if tenant_id not in set(active)]:
        raise UsageError(f"Not registered, or retired: {', '.join(unknown)}. `cata-pipeline tenants list` shows all.")
    return wanted
