"""Composes a menu out of sections, sets and recipes, and builds the planned cases in.

Add a rule here when every menu should have one more kind of row. Dishes and prices live in the menus themselves.
Nothing depends on chance or the clock, so that a restarted demo serves the same menu.
"""

import dataclasses
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cata_pipeline.demo.pictures import Format, Look
from cata_pipeline.demo.products import (
    Cases,
    Component,
    Ingredient,
    Menu,
    Modifier,
    ModifierGroup,
    Picture,
    Product,
    made_up_id,
)
from cata_pipeline.demo.vessels import Shape

_FIRST_DAY = datetime(2025, 3, 1, 2, 0, tzinfo=UTC)
_BETWEEN_PRODUCTS = timedelta(hours=7, minutes=37)
_OLD_RECIPE_AGE = timedelta(days=300)
_WITHOUT_HEADER = 5  # every fifth plain product lacks product_header_id, as older rows of the vendor do


@dataclass(frozen=True)
class Dish:
    """One line of a menu; `price` in whole rupiah, `palette` out of `vessels.PALETTES`."""

    code: str
    name: str
    price: int
    palette: str
    description: str


@dataclass(frozen=True)
class Variant:
    """One way to order every dish of a section; `suffix` is added to the SKU, `surcharge` to the price."""

    suffix: str
    options: tuple[tuple[str, str], ...]
    surcharge: int = 0
    shape: Shape | None = None


@dataclass(frozen=True)
class Section:
    """Dishes that share a category, the way they are served, and the modifiers offered with them."""

    category: str
    shape: Shape
    dishes: tuple[Dish, ...]
    variants: tuple[Variant, ...] = ()
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tracked: bool = False


@dataclass(frozen=True)
class SetMeal:
    """A comboset; `components` are (slot, SKU, quantity), alternatives for a slot share its name."""

    dish: Dish
    shape: Shape
    components: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class Recipe:
    """A composite; `ingredients` are (name, SKU of the raw material, quantity)."""

    dish: Dish
    category: str
    shape: Shape
    ingredients: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True)
class Card:
    """All that a menu's file says; `groups` has the choices (title, price) of each modifier group."""

    tenant_id: str
    store_name: str
    address: str
    groups: Mapping[str, tuple[tuple[str, int], ...]]
    sections: tuple[Section, ...]
    sets: tuple[SetMeal, ...]
    recipes: tuple[Recipe, ...]
    cases: Cases


def product_id(tenant_id: str, code: str) -> str:
    """The product id of the dish or variant with this code."""
    return made_up_id(tenant_id, "product", code)


def picture_path(tenant_id: str, upload: str, kind: Format) -> str:
    """The address of an upload on the CDN, in the vendor's form `/<32hex>/<32hex>.<ext>`."""
    folder, file = uuid.UUID(made_up_id(tenant_id)), uuid.UUID(made_up_id(tenant_id, "picture", upload))
    return f"/{folder.hex}/{file.hex}.{kind}"


def compose(card: Card) -> Menu:
    """The menu with every product of the card in the card's order, and its planned cases."""
    products = list(_sections(card))
    products += _sets(card, {product.sku: product for product in products})
    products += _recipes(card)
    dated = [
        dataclasses.replace(product, modified_at=_FIRST_DAY + index * _BETWEEN_PRODUCTS)
        for index, product in enumerate(products)
    ]
    return Menu(card.tenant_id, card.store_name, card.address, tuple(_with_cases(card, dated)), card.cases)


def _sections(card: Card) -> Iterator[Product]:
    for section in card.sections:
        groups = tuple(_group(card, title) for title in section.groups)
        for index, dish in enumerate(section.dishes):
            plain = dataclasses.replace(
                _plain(card, dish, section.shape),
                category=section.category,
                tags=section.tags,
                track_inventory=section.tracked,
                modifier_groups=groups,
            )
            if section.variants:
                yield from (_variant(card, plain, variant) for variant in section.variants)
            elif index % _WITHOUT_HEADER == 0:
                yield dataclasses.replace(plain, header_id=None)
            else:
                yield plain


def _plain(card: Card, dish: Dish, shape: Shape) -> Product:
    identity, look = product_id(card.tenant_id, dish.code), Look(shape, dish.palette)
    return Product(
        product_id=identity,
        header_id=made_up_id(card.tenant_id, "header", dish.code),
        name=dish.name,
        sku=dish.code,
        type="standard",
        category=None,
        tags=(),
        description=dish.description,
        price=dish.price,
        look=look,
        picture=_picture(card, identity, dish.name, look),
        track_inventory=False,
        modified_at=_FIRST_DAY,
    )


def _variant(card: Card, plain: Product, variant: Variant) -> Product:
    sku = f"{plain.sku}-{variant.suffix}"
    identity, look = product_id(card.tenant_id, sku), Look(variant.shape or plain.look.shape, plain.look.palette)
    product = dataclasses.replace(
        plain,
        product_id=identity,
        sku=sku,
        type="variant",
        price=plain.price + variant.surcharge,
        look=look,
        options=variant.options,
    )
    text = f"{product.name} - {product.choice}"
    return dataclasses.replace(product, picture=_picture(card, identity, text, look))


def _picture(card: Card, identity: str, text: str, look: Look) -> Picture:
    kinds: tuple[Format, ...] = ("png", "webp", "webp", "webp", "jpg", "jpg", "jpg", "jpg", "jpg", "jpg")
    kind = kinds[uuid.UUID(identity).int % len(kinds)]
    return Picture(picture_path(card.tenant_id, identity, kind), text, look, kind)


def _group(card: Card, title: str) -> ModifierGroup:
    group_id = made_up_id(card.tenant_id, "group", title)
    return ModifierGroup(
        group_id,
        title,
        tuple(
            Modifier(made_up_id(card.tenant_id, "modifier", title, choice), group_id, choice, price)
            for choice, price in card.groups[title]
        ),
    )


def _sets(card: Card, on_the_menu: Mapping[str, Product]) -> Iterator[Product]:
    for meal in card.sets:
        components = tuple(
            Component(
                product_id=on_the_menu[sku].product_id,
                sku=sku,
                slot=slot,
                product_name=on_the_menu[sku].name,
                variant_name=on_the_menu[sku].choice,
                quantity=quantity,
            )
            for slot, sku, quantity in meal.components
        )
        plain = _plain(card, meal.dish, meal.shape)
        yield dataclasses.replace(plain, type="comboset", tags=("Paket", "hemat"), components=components)


def _recipes(card: Card) -> Iterator[Product]:
    for recipe in card.recipes:
        ingredients = tuple(
            Ingredient(made_up_id(card.tenant_id, "material", sku), name, sku, quantity)
            for name, sku, quantity in recipe.ingredients
        )
        plain = _plain(card, recipe.dish, recipe.shape)
        yield dataclasses.replace(plain, type="composite", category=recipe.category, ingredients=ingredients)


def _with_cases(card: Card, products: list[Product]) -> Iterator[Product]:
    cases = card.cases
    first, second = cases.shared_picture
    shared = _find_picture(products, first)
    for product in products:
        if product.product_id == cases.empty_sku_product_id:
            yield dataclasses.replace(product, sku="")
        elif product.product_id == cases.nameless_product_id:
            yield dataclasses.replace(product, name="")
        elif product.sku == cases.duplicate_sku:
            yield product
            yield _old_recipe(card, product)
        elif product.sku == cases.no_picture:
            yield dataclasses.replace(product, picture=None)
        elif product.sku == second:
            yield dataclasses.replace(product, picture=shared)
        elif product.sku == cases.inactive:
            yield dataclasses.replace(product, is_active=False)
        else:
            yield _with_odd_picture(card, _with_wrong_inner_group(cases, product))


def _find_picture(products: list[Product], sku: str) -> Picture | None:
    return next(product.picture for product in products if product.sku == sku)


def _old_recipe(card: Card, product: Product) -> Product:
    identity = product_id(card.tenant_id, f"{product.sku}/old")
    return dataclasses.replace(
        product,
        product_id=identity,
        name=f"{product.name} (resep lama)",
        header_id=None,
        picture=_picture(card, identity, product.name, product.look),
        is_active=False,
        modified_at=product.modified_at - _OLD_RECIPE_AGE,
    )


def _with_wrong_inner_group(cases: Cases, product: Product) -> Product:
    """As in the vendor's own sample: a modifier nested in the second group names the first."""
    if product.sku != cases.wrong_inner_group:
        return product
    first, second, *rest = product.modifier_groups
    stray = dataclasses.replace(second.modifiers[0], group_id=first.group_id)
    second = dataclasses.replace(second, modifiers=(stray, *second.modifiers[1:]))
    return dataclasses.replace(product, modifier_groups=(first, second, *rest))


def _with_odd_picture(card: Card, product: Product) -> Product:
    assert product.picture is not None
    if product.sku == card.cases.missing_picture:
        return dataclasses.replace(product, picture=dataclasses.replace(product.picture, condition="missing"))
    if product.sku == card.cases.broken_picture:
        path = picture_path(card.tenant_id, product.product_id, "jpg")
        picture = dataclasses.replace(product.picture, path=path, kind="jpg", condition="truncated")
        return dataclasses.replace(product, picture=picture)
    return product
