"""What a product of the demo POS is, and what a menu names of its products.

Add a field here when the demo's wire rows need another value. How a menu is composed lives in
`cata_pipeline.demo.kitchen`, how a product is written as JSON in `cata_pipeline.demo.wire`.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cata_pipeline.demo.pictures import Format, Look

ProductType = Literal["standard", "variant", "composite", "comboset"]


def made_up_id(*parts: str) -> str:
    """A GUID that is the same on every machine and in every run for the same parts."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("demo-pos", *parts))))


@dataclass(frozen=True, slots=True)
class Picture:
    """One upload to the picture CDN: its address there and what is drawn for it.

    `truncated` serves a file that ends too early; of a `missing` one only the address is known.
    """

    path: str
    text: str
    look: Look
    kind: Format
    condition: Literal["good", "truncated", "missing"] = "good"


@dataclass(frozen=True, slots=True)
class Modifier:
    """One choice; `group_id` is what the wire says, which need not be the group it is nested in."""

    modifier_id: str
    group_id: str
    title: str
    price: int


@dataclass(frozen=True, slots=True)
class ModifierGroup:
    """Choices offered together."""

    group_id: str
    title: str
    modifiers: tuple[Modifier, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """One product in a slot of a comboset."""

    product_id: str
    sku: str
    slot: str
    product_name: str
    variant_name: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One line of a recipe: no product of the menu."""

    product_id: str
    name: str
    sku: str
    quantity: float


@dataclass(frozen=True, slots=True)
class Product:
    """One row of the POS; `price` in whole rupiah, `modified_at` timezone-aware UTC.

    `name` is the bare name that variants of one family share. `header_id` is None where the wire does not say it,
    `category` where only the tags do.
    """

    product_id: str
    header_id: str | None
    name: str
    sku: str
    type: ProductType
    category: str | None
    tags: tuple[str, ...]
    description: str
    price: int
    look: Look
    picture: Picture | None
    track_inventory: bool
    modified_at: datetime
    is_active: bool = True
    was_inactive: bool = False
    options: tuple[tuple[str, str], ...] = ()
    modifier_groups: tuple[ModifierGroup, ...] = ()
    components: tuple[Component, ...] = ()
    ingredients: tuple[Ingredient, ...] = ()

    @property
    def item_code(self) -> str:
        """What a sync keys this product by: the SKU, or the product id where there is none."""
        return self.sku or self.product_id

    @property
    def choice(self) -> str:
        """The values that tell a variant from its siblings, such as "Large / Ice"."""
        return " / ".join(value for _, value in self.options)


@dataclass(frozen=True)
class Cases:
    """Where to find each planned case of a menu: item codes, all distinct.

    The first block was built in; the second names plain, active products with a good picture of their own, one for
    each thing that people may do to them.
    """

    empty_sku_product_id: str
    duplicate_sku: str
    no_picture: str
    broken_picture: str
    missing_picture: str
    shared_picture: tuple[str, str]
    inactive: str
    accented: str
    wrong_inner_group: str
    variant_family: tuple[str, ...]
    comboset: str
    composite: str

    to_rename_by_merchant: str
    to_rename_by_pos: str
    renamed_by_both: str
    to_photo_by_merchant: str
    to_photo_by_pos: str
    to_price_by_merchant: str
    to_deactivate: str
    to_remove: str

    nameless_product_id: str | None = None

    def edits(self) -> tuple[str, ...]:
        """The item codes of the second block."""
        return (
            self.to_rename_by_merchant,
            self.to_rename_by_pos,
            self.renamed_by_both,
            self.to_photo_by_merchant,
            self.to_photo_by_pos,
            self.to_price_by_merchant,
            self.to_deactivate,
            self.to_remove,
        )


@dataclass(frozen=True)
class Menu:
    """Everything one demo store sells at the start."""

    tenant_id: str
    store_name: str
    address: str
    products: tuple[Product, ...]
    cases: Cases

    def product(self, item_code: str) -> Product:
        """The product with this item code; raises `LookupError` when there is none."""
        return find(self.products, item_code)


def find(products: Sequence[Product], item_code: str) -> Product:
    """The product with this item code: active before inactive, then the newest. Raises `LookupError`."""
    matches = [product for product in products if product.item_code == item_code]
    if not matches:
        raise LookupError(f"No product has the item code {item_code!r}; expected a SKU of this menu or a product id.")
    return max(matches, key=lambda product: (product.is_active, product.modified_at))
