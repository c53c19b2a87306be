"""`providers`: which POS providers there are, and what one would make of a tenant's first page."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cata_pipeline.cli.arguments import EXIT_TENANTS_FAILED, as_json, open_pipeline
from cata_pipeline.cli.printing import print_json, print_table
from cata_pipeline.errors import TenantError, UsageError

if TYPE_CHECKING:
    from cata_pipeline.catalog.model import Item
    from cata_pipeline.providers.contract import Provider

SHOWN_ITEMS = 20
SHOWN_REJECTIONS = 10


@click.group()
def providers() -> None:
    """The POS providers: their options, and a look at what one answers."""


@providers.command("list")
@as_json
def list_providers(as_json: bool) -> None:  # noqa: FBT001
    """Every installed provider with its credentials and options. One that cannot be used is told after the others."""
    from cata_pipeline.providers.registry import provider_named, provider_names

    found: list[Provider] = []
    unusable: dict[str, str] = {}
    for slug in provider_names():
        try:
            found.append(provider_named(slug))
        except UsageError as error:
            unusable[slug] = str(error)
    if as_json:
        print_json({"providers": {provider.slug: _described(provider) for provider in found}, "unusable": unusable})
    else:
        for provider in found:
            _show(provider)
    if unusable:
        raise UsageError("\n".join(unusable.values()))


@providers.command("check")
@click.argument("tenant_id", metavar="TENANT")
@as_json
def check_provider(tenant_id: str, as_json: bool) -> None:  # noqa: FBT001
    """Ask TENANT's POS for one page, and show what would become of it. Writes nothing."""
    try:
        sample = open_pipeline().sample(tenant_id)
    except TenantError as error:
        if as_json:
            print_json({"tenant": tenant_id, "ok": False, "error": str(error)})
        else:
            click.echo(f"{tenant_id}: FAILED: {error}")
        sys.exit(EXIT_TENANTS_FAILED)
    items = [_told(item) for item in sample.items[:SHOWN_ITEMS]]
    rejections = [
        {"provider_id": rejection.provider_id, "item_code": rejection.item_code, "reason": rejection.reason}
        for rejection in sample.rejections[:SHOWN_REJECTIONS]
    ]
    counts = {"items": len(sample.items), "rejected": len(sample.rejections)}
    if as_json:
        warnings = dict(sorted(sample.warnings.items()))
        told = {"counts": counts, "items": items, "rejections": rejections, "warnings": warnings}
        print_json({"tenant": tenant_id, "ok": True, **told})
        return
    click.echo(f"{tenant_id}: the first page maps to {counts['items']} items; rejected rows: {counts['rejected']}.")
    if items:
        print_table(tuple(items[0]), [tuple(_cell(value) for value in item.values()) for item in items])
    if rejections:
        print_table(tuple(rejections[0]), [tuple(value or "" for value in row.values()) for row in rejections])
    for warning, count in sorted(sample.warnings.items()):
        click.echo(f"{count} x {warning}")
    if sample.warnings:
        click.echo("Only one page was asked for: what stands on later ones is missing here, and a sync finds it.")
    click.echo("Nothing was written.")


def _described(provider: "Provider") -> Mapping[str, Any]:
    return {
        "name": provider.name,
        "credentials": list(provider.credential_keys),
        "optional_credentials": list(provider.optional_keys),
        "rotating_credential": provider.rotating_key,
        "options": {name: option._asdict() for name, option in provider.options.described().items()},
    }


def _show(provider: "Provider") -> None:
    optional = [f"{key} (optional)" for key in provider.optional_keys]
    rotating = [f"{provider.rotating_key} (where one is given: changes with each use)"] if provider.rotating_key else []
    keys = ", ".join([*provider.credential_keys, *optional, *rotating]) or "none"
    click.echo(f"{provider.slug} ({provider.name}); credentials: {keys}")
    rows = [(name, "yes" if o.required else "", o.meaning) for name, o in provider.options.described().items()]
    print_table(("option", "required", "meaning"), rows)
    click.echo()


def _told(item: "Item") -> Mapping[str, Any]:
    return {
        "item_code": item.item_code,
        "name": item.name,
        "active": item.is_active,
        "category": item.category,
        "item_type": item.item_type,
        "picture": item.external_image_url,
        "modifier_groups": _count(item.modifier_groups),
        "components": _count(item.bundle_components),
    }


def _count(parts: tuple[object, ...] | None) -> int | None:
    """How many there are; None where the provider does not say."""
    return None if parts is None else len(parts)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
