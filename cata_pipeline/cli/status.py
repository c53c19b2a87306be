"""`status`: how each tenant is."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cata_pipeline.cli.arguments import as_json, open_pipeline, tenant_ids
from cata_pipeline.cli.printing import minute, print_json, print_some, print_table

if TYPE_CHECKING:
    from cata_pipeline.tenants.history import FailingPicture

STATUS_SAMPLE = 10
"""Stale items, and failing pictures, that `status` names of each tenant."""


@click.command()
@tenant_ids
@as_json
def status(tenant_ids: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """When each tenant was last synced and copied, how that went, what runs now, and what is stale or failing."""
    from cata_pipeline.tenants.lock import lock_holders

    pipeline = open_pipeline()
    ids = [pipeline.registry.tenant(tenant_id).id for tenant_id in tenant_ids] or pipeline.registry.active_ids()
    newest = pipeline.history.newest(ids)
    running = lock_holders(pipeline.control, ids)
    failing = pipeline.history.failing_pictures(ids)
    pictures = pipeline.history.longest_failing(ids, STATUS_SAMPLE)
    stale, stale_counts = pipeline.stale_items.longest(ids, STATUS_SAMPLE), pipeline.stale_items.count(ids)
    told: dict[str, dict[str, Any]] = {}
    for tenant_id in ids:
        told[tenant_id] = {
            "running": {kind: running.get((tenant_id, kind)) for kind in ("sync", "images")},
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
        print_json({"tenants": told})
        return
    rows = [
        (
            tenant_id,
            _running(entry["running"]),
            _last(entry["sync"]),
            str((entry["sync"] or {}).get("items_in_snapshot", "")),
            str((entry["sync"] or {}).get("stale", "")),
            _last(entry["images"]),
            str(entry["failing_images"]),
            (entry["sync"] or {}).get("error") or (entry["images"] or {}).get("error") or "",
        )
        for tenant_id, entry in told.items()
    ]
    names = ("tenant", "running", "last sync", "items", "stale", "last image copy", "failing images", "problem")
    print_table(names, rows)
    for tenant_id, entry in told.items():
        print_some(
            f"{tenant_id}: stale items, the longest first",
            ("item code", "since"),
            [(item["item_code"], minute(item["since"])) for item in entry["stale_items"]],
            stale_counts.get(tenant_id, 0),
        )
        print_some(
            f"{tenant_id}: pictures that keep failing, the longest first",
            ("item code", "host", "reason", "since", "tries", "next try"),
            [
                (
                    _with_others(picture),
                    picture["host"],
                    picture["reason"],
                    minute(picture["since"]),
                    str(picture["tries"]),
                    minute(picture["next_try"]),
                )
                for picture in entry["failing_pictures"]
            ],
            entry["failing_images"],
        )


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


def _running(runs: Mapping[str, str | None]) -> str:
    return ", ".join(f"{kind} {run_id[:8]}" for kind, run_id in runs.items() if run_id)


def _last(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return "never"
    return f"{minute(run['finished_at'])} {'FAILED' if run['error'] else 'ok'}"
