"""The three menus of the demo, in the order their tenants are registered.

Add a menu as a module of its own and name it here. Nothing else belongs here: what a product is stands in
`cata_pipeline.demo.products`, how menus are composed in `cata_pipeline.demo.kitchen`.
"""

from cata_pipeline.demo.menu_kopi_kita import KOPI_KITA
from cata_pipeline.demo.menu_roti_pagi import ROTI_PAGI
from cata_pipeline.demo.menu_warung_nusantara import WARUNG_NUSANTARA
from cata_pipeline.demo.products import Cases, Menu, Product

__all__ = ["MENUS", "Cases", "Menu", "Product"]

MENUS: tuple[Menu, ...] = (KOPI_KITA, WARUNG_NUSANTARA, ROTI_PAGI)
