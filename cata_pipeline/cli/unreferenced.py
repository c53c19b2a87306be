"""`images --unreferenced`: objects that no row refers to."""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from cata_pipeline.cli.arguments import EXIT_TENANTS_FAILED, open_pipeline
from cata_pipeline.cli.printing import print_json, print_table
from cata_pipeline.errors import CataError


def report_unreferenced(ids: list[str], *, as_json: bool) -> None:
    """Print what no row of these tenants refers to; one tenant's error does not stop the others."""
    pipeline = open_pipeline()
    told: dict[str, dict[str, Any]] = {}
    for tenant_id in ids:
        try:
            told[tenant_id] = {"ok": True, **asdict(pipeline.unreferenced_images(tenant_id))}
        except CataError as error:
            told[tenant_id] = {"ok": False, "error": str(error)}
    if as_json:
        print_json({"run_id": None, "tenants": told})
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
    print_table(("tenant", *(name for pile in piles for name in (pile, "bytes"))), rows)
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
