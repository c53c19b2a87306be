"""Puts the objects of all pages of Square's catalog together, once the last page came.

Square lists objects in no useful order: a product may name a category, picture, option or modifier list of a later
page. What a field means is in `square_objects` and `square_references`, how pages are asked for in `square`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from cata_pipeline.catalog.model import Catalog, Item, ModifierGroup, Rejection, VariantOption, unite
from cata_pipeline.providers.row_fields import Row, UnusableRowError, kind_of, shown
from cata_pipeline.providers.square_objects import (
    HeldItem,
    HeldVariation,
    ModifierListUse,
    read_item,
    read_variation,
    version_of,
)
from cata_pipeline.providers.square_options import SquareOptions
from cata_pipeline.providers.square_place import Place
from cata_pipeline.providers.square_references import (
    Category,
    ItemOption,
    ModifierList,
    Reference,
    read_category,
    read_image,
    read_item_option,
    read_modifier_list,
)

_COMBO = "COMBO"
# Square keeps in its catalog what no menu offers. Types that are not listed here, known or not, are products.
_NOT_FOR_A_MENU = {
    "GIFT_CARD": "gift card left out: not a product of a menu",
    "APPOINTMENTS_SERVICE": "appointment left out: not a product of a menu",
    "DONATION": "donation left out: not a product of a menu",
}
AnyReference = TypeVar("AnyReference", bound=Reference)


class Gathered:
    """The objects of the pages so far, each in its newest version; `now` decides what is still sold out."""

    def __init__(self, options: SquareOptions, now: datetime | None = None) -> None:
        self._place = Place(options, now or datetime.now(UTC))
        self._items: dict[str, HeldItem] = {}
        self._deleted_variations: dict[str, tuple[int, str, HeldVariation]] = {}
        self._rejections: list[Rejection] = []
        self._warnings: Counter[str] = Counter()
        self._categories: dict[str, Category] = {}
        self._images: dict[str, Reference] = {}
        self._modifier_lists: dict[str, ModifierList] = {}
        self._item_options: dict[str, ItemOption] = {}

    def take(self, objects: Iterable[object]) -> None:
        """The objects of one page; types that nobody asked for pass by."""
        for row in objects:
            if isinstance(row, dict):
                self._take(row)
            else:
                self._rejections.append(Rejection(None, None, f"is {kind_of(row)} instead of an object"))

    def catalog(self) -> Catalog:
        """The catalog of all that was taken."""
        resolver = _Resolver(self._categories, self._images, self._modifier_lists, self._item_options)
        resolver.warnings.update(self._warnings)
        lost = self._variations_deleted_alone(resolver.warnings)
        items, deleted, rejections = list[Item](), list[Item](), list(self._rejections)
        for held in self._items.values():
            for outcome in resolver.outcomes(held, lost.get(held.item_id or "", ())):
                if isinstance(outcome, Item):
                    items.append(outcome)
                elif isinstance(outcome, _Deleted):
                    deleted.append(outcome.item)
                else:
                    rejections.append(outcome)
        united, duplicates = unite(items, deleted, rejections)
        return Catalog(united, tuple(rejections), duplicates, resolver.warnings)

    def _take(self, row: Row) -> None:
        match row.get("type"):
            case "ITEM":
                self._take_item(row)
            case "ITEM_VARIATION":
                self._take_variation(row)
            case "CATEGORY":
                self._refer(self._categories, read_category, row)
            case "IMAGE":
                self._refer(self._images, read_image, row)
            case "MODIFIER_LIST":
                self._refer(self._modifier_lists, read_modifier_list, row)
            case "ITEM_OPTION":
                self._refer(self._item_options, read_item_option, row)
            case None:
                self._warnings["object without type left out"] += 1

    def _take_item(self, row: Row) -> None:
        held = read_item(row, self._place)
        if held.item_id is None:
            self._rejections += _rejected(held)
            return
        before = self._items.get(held.item_id)
        if before is None or held.version > before.version:
            self._items[held.item_id] = held

    def _take_variation(self, row: Row) -> None:
        """Living variations come with their items; only one that was deleted alone may come nowhere else."""
        variation_id, data = row.get("id"), row.get("item_variation_data")
        item_id = data.get("item_id") if isinstance(data, dict) else None
        if row.get("is_deleted") is True and isinstance(variation_id, str) and isinstance(item_id, str):
            version = version_of(row)
            if version >= self._deleted_variations.get(variation_id, (version,))[0]:
                ignored: list[str] = []
                held = read_variation(row, self._place, ignored.append)
                self._deleted_variations[variation_id] = (version, item_id, held)

    def _refer(self, known: dict[str, AnyReference], read: Callable[[Row, Place], AnyReference], row: Row) -> None:
        try:
            reference = read(row, self._place)
        except UnusableRowError:
            kind = str(row["type"]).lower().replace("_", " ")
            self._warnings[f"{kind} that cannot be read left out"] += 1
            return
        key = str(row["id"])
        before = known.get(key)
        if before is None or reference.version > before.version:
            known[key] = reference

    def _variations_deleted_alone(self, warnings: Counter[str]) -> Mapping[str, list[HeldVariation]]:
        found: dict[str, list[HeldVariation]] = {}
        for _, item_id, variation in self._deleted_variations.values():
            if item_id in self._items:
                found.setdefault(item_id, []).append(variation)
            else:
                warnings["deleted variation of an item that is not there left out"] += 1
        for item_id, deleted in found.items():
            nested = {variation.variation_id for variation in self._items[item_id].variations}
            deleted[:] = [variation for variation in deleted if variation.variation_id not in nested]
        return found


class _Deleted(NamedTuple):
    """An item that Square tells of only to say that it is gone."""

    item: Item


class _Resolver:
    """Turns products into items by what they refer to, and counts what was left out."""

    def __init__(
        self,
        categories: Mapping[str, Category],
        images: Mapping[str, Reference],
        modifier_lists: Mapping[str, ModifierList],
        item_options: Mapping[str, ItemOption],
    ) -> None:
        self.warnings: Counter[str] = Counter()
        self._categories = categories
        self._images = images
        self._modifier_lists = modifier_lists
        self._option_names = {key: option.text or "" for key, option in item_options.items()}
        self._option_values = {
            (key, value_id): name for key, option in item_options.items() for value_id, name in option.values
        }
        self._groups: dict[ModifierListUse, ModifierGroup] = {}

    def outcomes(self, held: HeldItem, deleted_alone: Iterable[HeldVariation]) -> Iterator[Item | _Deleted | Rejection]:
        """Return one item or rejection for each variation.

        What no menu offers, and what was deleted and cannot be an item, is only counted.
        """
        if left_out := _NOT_FOR_A_MENU.get(held.item_type or ""):
            self.warnings[left_out] += 1
            return
        if held.warnings:
            self.warnings.update(held.warnings)
        variations = (*held.variations, *deleted_alone)
        if not variations or held.problem:
            if held.is_deleted:
                self.warnings["deleted item without name or variations left out"] += 1
            else:
                yield from _rejected(held)
            return
        living = sum(held.is_deleted or not variation.is_deleted for variation in variations)
        if held.item_type == _COMBO:
            self.warnings["COMBO: its components and modifiers are not offered by Square and stay as they are"] += 1
        category, categorized_at = self._category(held.category_ids)
        groups, listed_at = self._modifier_groups(held)
        for variation in variations:
            is_deleted = held.is_deleted or variation.is_deleted
            if variation.problem is not None:
                if is_deleted:
                    self.warnings["deleted variation that cannot be an item left out"] += 1
                else:
                    yield Rejection(variation.variation_id, variation.code, variation.problem)
                continue
            is_sole = living - (held.is_deleted or not variation.is_deleted) == 0
            options = self._variant_options(variation, is_sole=is_sole)
            image, pictured_at = self._picture(variation.image_ids + held.image_ids)
            item = Item(
                item_code=variation.code or "",
                provider_id=variation.variation_id or "",
                name=_display_name(held.name, variation.name, options, is_sole=is_sole),
                is_active=held.is_active and variation.is_active and not is_deleted,
                description=held.description,
                category=category,
                item_type=held.item_type,
                external_image_url=image,
                variant_group=None if is_sole else held.item_id,
                variant_options=options,
                modifier_groups=groups,
                bundle_components=None if held.item_type == _COMBO or held.is_deleted else (),
                updated_at=_newest(held.updated_at, variation.updated_at, categorized_at, listed_at, pictured_at),
            )
            yield _Deleted(item) if is_deleted else item

    def _category(self, category_ids: tuple[str, ...]) -> tuple[str | None, datetime | None]:
        """Return the first regular category that exists."""
        for category_id in category_ids:
            found = self._categories.get(category_id)
            if found is None or found.is_deleted or found.text is None:
                self.warnings["category that is not in the catalog left out"] += 1
            elif found.is_regular:
                return found.text, found.updated_at
        return None, None

    def _picture(self, image_ids: tuple[str, ...]) -> tuple[str | None, datetime | None]:
        """The first that is there: one that was deleted must not take away the others."""
        for image_id in image_ids:
            found = self._images.get(image_id)
            if found is not None and not found.is_deleted and found.text is not None:
                return found.text, found.updated_at
            self.warnings["picture that is not in the catalog left out"] += 1
        return None, None

    def _modifier_groups(self, held: HeldItem) -> tuple[tuple[ModifierGroup, ...] | None, datetime | None]:
        """None where one of the lists is not there: then nothing is known, and what is stored stays."""
        if held.uses is None or held.item_type == _COMBO:
            return None, None
        groups, newest, is_known = [], None, True
        for use in held.uses:
            listed = self._modifier_lists.get(use.list_id)
            if listed is None or (listed.text is None and not listed.is_deleted):
                self.warnings["modifier list that is not in the catalog; the item's modifiers stay as they are"] += 1
                is_known = False
            elif listed.is_deleted:
                self.warnings["modifier list that was deleted left out"] += 1
            elif listed.is_free_text:
                self.warnings["modifier list for free text is not supported and left out"] += 1
            else:
                groups.append(self._group(use, listed))
                newest = _newest(newest, listed.updated_at)
        return (tuple(groups) if is_known else None), newest

    def _group(self, use: ModifierListUse, listed: ModifierList) -> ModifierGroup:
        group = self._groups.get(use)
        if group is None:
            self.warnings.update(listed.warnings)
            group = self._groups[use] = listed.group(use.list_id, use.hidden)
        return group

    def _variant_options(self, variation: HeldVariation, *, is_sole: bool) -> tuple[VariantOption, ...]:
        options = []
        for pair in variation.option_values:
            value = self._option_values.get(pair)
            if value is None:
                self.warnings["option value that is not in the catalog left out"] += 1
            else:
                options.append(VariantOption(self._option_names[pair[0]], value))
        if not options and not is_sole and variation.name is not None:
            return (VariantOption("", variation.name),)
        return tuple(options)


def _display_name(name: str, variation: str | None, options: tuple[VariantOption, ...], *, is_sole: bool) -> str:
    """Return the item's name, followed by what distinguishes the variation where the item has several.

    The name of a single variation distinguishes nothing: Square requires one and fills it in the seller's language.
    """
    distinction = None if is_sole else variation or " / ".join(option.value for option in options)
    return f"{name} - {distinction}" if distinction else name


def _rejected(held: HeldItem) -> list[Rejection]:
    """A rejection for each variation of a product that cannot be taken, or one for the product itself."""
    problem = held.problem or "has no variation, so nothing that could be sold"
    parts = [Rejection(part.variation_id, part.code, problem) for part in held.variations]
    return parts or [Rejection(shown(held.item_id), None, problem)]


def _newest(*moments: datetime | None) -> datetime | None:
    known = [moment for moment in moments if moment is not None]
    return max(known) if known else None
