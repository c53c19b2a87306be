"""The make-believe stores: which tenant has which address, and what each sells.

Every store is an address of the loopback network for itself, because providers and picture hosts are paced by origin
and tenants do not share one. Add here what a product looks like; how stores are asked is in `pos.py`.
"""

import functools
import io
import json
import random

from PIL import Image

CREDENTIALS_VARIABLE = "FLEET_ISELLER"
CREDENTIALS = json.dumps({"api_key": "fleet", "api_secret": "fleet"})
PICTURES = 10
"""Distinct pictures of a store: its products share them evenly."""

_IN_A_NETWORK = 250
_MODIFIED_EACH = 5
_STORE = b"http://store.invalid"
_PICTURE_SIZE = (96, 96)


def tenant_ids(count: int) -> list[str]:
    """The tenants of a fleet, in order."""
    return [f"t{number:05d}" for number in range(count)]


def address(number: int) -> str:
    """The loopback address of the store of tenant `number`."""
    return f"127.77.{number // _IN_A_NETWORK}.{number % _IN_A_NETWORK + 1}"


def products_page(items: int, origin: str) -> bytes:
    """A whole catalog as GetProducts answers it in one page."""
    return _page(items).replace(_STORE, origin.encode())


@functools.cache
def _page(items: int) -> bytes:
    rows = [_row(number) for number in range(items)]
    return json.dumps({"products": rows, "has_next_item": False, "status": True, "error_message": None}).encode()


def _row(number: int) -> dict[str, object]:
    return {
        "product_id": f"00000000-0000-4000-8000-{number:012d}",
        "name": f"Nasi Goreng {number}",
        "description": "Dengan telur, acar dan kerupuk.",
        "type": "standard",
        "product_type": f"Kategori {number % 12}",
        "sku": f"SKU-{number:05d}",
        "price": "25000.0000",
        "track_inventory": False,
        "variant_options": [],
        "bundles": None,
        "modifier_groups": [_group(number)] if number % _MODIFIED_EACH == 0 else [],
        "images": [f"{_STORE.decode()}/pictures/{number % PICTURES}.jpg"],
        "is_active": True,
        "modified_date": "2026-01-05 08:00:00",
    }


def _group(number: int) -> dict[str, object]:
    group = f"10000000-0000-4000-8000-{number:012d}"
    choices = [
        {"modifier_id": f"2000000{choice}-0000-4000-8000-{number:012d}", "modifier_group_id": group, "title": title}
        for choice, title in enumerate(("Pedas", "Sedang", "Tidak pedas"))
    ]
    return {"modifier_group_id": group, "title": "Level", "is_active": True, "modifiers": choices}


@functools.cache
def picture(number: int) -> bytes:
    """A small JPEG; what copying large ones takes is measured by `benchmarks.images`."""
    width, height = _PICTURE_SIZE
    chance = random.Random(number)  # noqa: S311 noise that can be drawn again
    drawn = io.BytesIO()
    Image.frombytes("RGB", _PICTURE_SIZE, chance.randbytes(width * height * 3)).save(drawn, "JPEG")
    return drawn.getvalue()
