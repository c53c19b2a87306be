"""The three menus of the demo, in the order their tenants are registered.

Each is a file `menu_….toml` beside this module; name a new one here. What a product is stands in
`cata_pipeline.demo.products`, how menus are composed in `cata_pipeline.demo.kitchen`.
"""

import tomllib
from importlib.resources import files

from pydantic import TypeAdapter

from cata_pipeline.demo.kitchen import Card, compose
from cata_pipeline.demo.products import Cases, Menu, Product

__all__ = ["KOPI_KITA", "MENUS", "ROTI_PAGI", "WARUNG_NUSANTARA", "Cases", "Menu", "Product"]


def _menu(name: str) -> Menu:
    text = files("cata_pipeline.demo").joinpath(f"menu_{name}.toml").read_text("utf-8")
    return compose(TypeAdapter(Card).validate_python(tomllib.loads(text)))


KOPI_KITA, WARUNG_NUSANTARA, ROTI_PAGI = MENUS = tuple(map(_menu, ("kopi_kita", "warung_nusantara", "roti_pagi")))
