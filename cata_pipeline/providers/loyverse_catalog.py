"""Gathers the items of all pages and makes one catalog of them, once every variant is known.

What a single item means is `loyverse_rows`; how pages are asked for is `loyverse`. Here is what takes more than one
row: the newest of two answers about a variant, components by their SKU, a store that nobody names.
"""

from collections import Counter

from cata_pipeline.catalog.model import BundleComponent, Catalog, Item, Rejection, unite
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.loyverse_options import LoyverseOptions
from cata_pipeline.providers.loyverse_rows import Projected, References, project, stores_of

_STORES_NAMED = 5


class Gathered:
    """The variants so far, one for each id: the one that was changed last, else the first seen.

    Rows are projected as they come, because a raw row is many times larger than its item.
    """

    def __init__(self, options: LoyverseOptions, references: References, warnings: Counter[str]) -> None:
        self._options = options
        self._references = references
        self._warnings = warnings
        self._held: dict[str, Projected] = {}
        self._without_id: list[Projected] = []
        self._stores: set[str] = set()

    def take(self, rows: list[object]) -> None:
        """Add the rows of a page."""
        for row in rows:
            if self._options.store_id is not None:
                self._stores.update(stores_of(row))
            for projected in project(row, self._references, self._options, self._warn):
                self._keep(projected)

    def catalog(self) -> Catalog:
        """What was gathered, with components resolved; raises `ProviderError` where the store is another account's."""
        self._refuse_unknown_store()
        warnings = self._warnings.copy()
        items: list[Item] = []
        deleted: list[Item] = []
        rejections: list[Rejection] = []
        for projected in [*self._held.values(), *self._without_id]:
            if isinstance(projected.outcome, Rejection):
                rejections.append(projected.outcome)
                continue
            warnings.update(projected.warnings)
            item = projected.outcome
            if projected.components != ():
                item = item._replace(bundle_components=self._resolved(projected, warnings))
            (deleted if projected.is_deleted else items).append(item)
        united, duplicates = unite(items, deleted, rejections)
        return Catalog(united, tuple(rejections), duplicates, warnings)

    def _keep(self, projected: Projected) -> None:
        if projected.variant_id is None:
            self._without_id.append(projected)
            return
        held = self._held.get(projected.variant_id)
        if held is None or _is_newer(projected, held):
            self._held[projected.variant_id] = projected

    def _resolved(self, projected: Projected, warnings: Counter[str]) -> tuple[BundleComponent, ...] | None:
        """The components by their SKU: all of them, or None, because half a bundle would be another bundle.

        Nothing is followed from component to component, so that composites of each other cost one look each.
        """
        if projected.components is None:
            return None
        resolved = []
        for component in projected.components:
            if component.variant_id == projected.variant_id:
                warnings["components of a composite left as they are: it contains itself"] += 1
                return None
            held = self._held.get(component.variant_id)
            if held is None or not isinstance(held.outcome, Item):
                warnings["components of a composite left as they are: one is no item of the catalog"] += 1
                return None
            item = held.outcome
            resolved.append(BundleComponent("", item.item_code, item.name, component.quantity))
        return tuple(resolved)

    def _refuse_unknown_store(self) -> None:
        store_id = self._options.store_id
        if store_id is None or not self._stores or store_id in self._stores:
            return
        named = ", ".join(sorted(self._stores)[:_STORES_NAMED])
        raise ProviderError(
            f"No product of the account is listed for the store {store_id}, so all would be hidden; its products name"
            f" {named}. Nothing was taken: correct store_id, or the credentials."
        )

    def _warn(self, sentence: str) -> None:
        self._warnings[sentence] += 1


def _is_newer(projected: Projected, than: Projected) -> bool:
    return projected.updated_at is not None and (than.updated_at is None or projected.updated_at > than.updated_at)
