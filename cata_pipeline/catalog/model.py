"""The canonical catalog: what every provider adapter produces and everything after it reads.

Add a field here when a second provider can fill it too. No price of any kind may enter this model:
prices belong to Cata, and what is never parsed can never be written. Nothing here knows a provider,
a file format or a database. What a catalog has by the thousand is a named tuple: making one takes 40 % of the time that
a frozen dataclass takes.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from cata_pipeline.catalog.look_alikes import look_alikes

MAX_ITEM_CODE_BYTES = 1024
"""Longer codes do not fit a B-tree key of the engines we write to; such a row is rejected."""

_GROUPS_NAMED = 10
_CODES_NAMED = 3


class VariantOption(NamedTuple):
    """One choice that tells a variant from its siblings, such as Size = Large."""

    option: str
    value: str


class Modifier(NamedTuple):
    """One choice inside a modifier group; `code` is the provider's id, unique within its group.

    `is_active` is None where the provider omits it, as in `Item`.
    """

    code: str
    name: str
    is_active: bool | None = True


class ModifierGroup(NamedTuple):
    """A set of choices offered with an item; `code` is the provider's id, unique within its item.

    `is_active` is None where the provider omits it, as in `Item`.
    """

    code: str
    name: str
    modifiers: tuple[Modifier, ...]
    is_active: bool | None = True


class BundleComponent(NamedTuple):
    """One component of a bundle, in the provider's order.

    Equal components are legal and kept: a bundle of two same drinks has two. `quantity` is a decimal
    in text form, so that it survives every format unchanged.
    """

    slot: str
    item_code: str
    name: str
    quantity: str = "1"


class Item(NamedTuple):
    """One sellable row of the provider's catalog, keyed by `item_code` (byte for byte the provider's SKU).

    `name` is what a customer should read, variant options included. `is_active` is None where the provider omits it:
    what is stored stays, and a new item is visible. `modifier_groups` and `bundle_components` are empty where the
    provider says there are none, and None where it does not say: then what is stored stays. Group codes are unique
    within an item, modifier codes within a group. `updated_at` is timezone-aware UTC or None.
    """

    item_code: str
    provider_id: str
    name: str
    is_active: bool | None
    description: str | None = None
    category: str | None = None
    item_type: str | None = None
    external_image_url: str | None = None
    variant_group: str | None = None
    variant_options: tuple[VariantOption, ...] = ()
    modifier_groups: tuple[ModifierGroup, ...] | None = ()
    bundle_components: tuple[BundleComponent, ...] | None = ()
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A provider row that could not be taken, and why, in words a merchant can act on."""

    provider_id: str | None
    item_code: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A provider row that lost its item code to another row of the same catalog."""

    item_code: str
    provider_id: str
    kept_provider_id: str


@dataclass(frozen=True)
class Catalog:
    """The complete catalog of a provider: `items` have distinct codes and are sorted by code (as UTF-8 bytes).

    `warnings` counts by sentence what was left out of accepted rows, and item codes that look alike.
    """

    items: tuple[Item, ...]
    rejections: tuple[Rejection, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    warnings: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Add the warning about codes that look alike: here, so that it holds for every provider."""
        if groups := look_alikes([item.item_code for item in self.items]):
            counted = Counter({_looking_alike(groups): sum(map(len, groups))})
            object.__setattr__(self, "warnings", self.warnings | counted)

    @property
    def received(self) -> int:
        """Rows the provider sent, accepted or not."""
        return len(self.items) + len(self.rejections) + len(self.duplicates)


def unite(
    items: Iterable[Item], deleted: Iterable[Item] = (), rejections: Iterable[Rejection] = ()
) -> tuple[tuple[Item, ...], tuple[Duplicate, ...]]:
    """One item for each code: inactive ones last, then the newest, then the smallest provider id.

    Returns the winners sorted by code and the losers with the provider id they lost to. The order of
    `items` does not matter, so the same catalog always gives the same answer. `deleted` are what the provider names
    only to say that it is gone: one stands for its code where nothing else does, not even one of the `rejections`
    (whose item is to stay as it is). It is never a loser, because nobody could repair that and every catalog from then
    on would tell it.
    """
    winners: dict[str, Item] = {}
    contested: dict[str, list[Item]] = {}
    for item in items:
        first = winners.setdefault(item.item_code, item)
        if first is not item:
            contested.setdefault(item.item_code, [first]).append(item)
    losers: list[Duplicate] = []
    for code, rivals in contested.items():
        winner, *lost = sorted(rivals, key=_rank)
        winners[code] = winner
        losers += (Duplicate(code, item.provider_id, winner.provider_id) for item in lost)
    refused, gone = {rejection.item_code for rejection in rejections}, dict[str, Item]()
    for item in deleted:
        if item.item_code not in winners and item.item_code not in refused:
            gone[item.item_code] = min(gone.get(item.item_code, item), item, key=_rank)
    winners |= gone
    ordered = tuple(winners[code] for code in sorted(winners, key=str.encode))
    return ordered, tuple(sorted(losers, key=lambda loser: (loser.item_code, loser.provider_id)))


def _rank(item: Item) -> tuple[bool, float, str]:
    age = -item.updated_at.timestamp() if item.updated_at else float("inf")
    return (item.is_active is False, age, item.provider_id)


def _looking_alike(groups: list[list[str]]) -> str:
    """Return the sentence about these groups of codes, escaped: a reader would see no difference otherwise."""
    named = [" and ".join(map(ascii, group[:_CODES_NAMED])) for group in groups[:_GROUPS_NAMED]]
    if (others := len(groups) - len(named)) > 0:
        named.append(f"{others} more")
    return f"item code that differs only invisibly from another: {'; '.join(named)}"


def text_problem(text: str) -> str | None:
    """Why a text cannot be stored in any of our databases, or None when it can."""
    if "\x00" in text:
        return "holds a NUL character"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is no character"
    return None
