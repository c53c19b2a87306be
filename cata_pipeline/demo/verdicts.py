"""What became of each case of the demo, judged on the databases and the bucket alone.

One function a case; each says what it found and whether the rule held. A case that cannot fail does not belong here.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.buckets import Bucket
from cata_pipeline.demo.edits import MERCHANT_NAME, MERCHANT_NAME_OVER_POS, MERCHANT_PRICE, POS_NAME
from cata_pipeline.demo.products import Cases, Menu

Row = Mapping[str, Any]
Rows = Mapping[str, Row]


@dataclass(frozen=True)
class Scene:
    """One tenant's tables before the edits and at the end, its bucket, its ledger, and the counts of its syncs.

    Rows are by item code. `failures` says per item code why its picture has no copy; `syncs` are the counts of the
    first, second and third sync.
    """

    menu: Menu
    photo: str
    before: Rows
    after: Rows
    components: Sequence[Row]
    modifiers: Sequence[Row]
    prices: Sequence[Row]
    failures: Mapping[str, str]
    objects: frozenset[str]
    bucket: Bucket
    syncs: Sequence[Mapping[str, Any]]

    @property
    def cases(self) -> Cases:
        """Where the planned cases are."""
        return self.menu.cases


@dataclass(frozen=True)
class Verdict:
    """One case of one tenant: what was found, and whether the rule held."""

    found: str
    holds: bool


@dataclass(frozen=True)
class Case:
    """One line of the demo's table."""

    title: str
    rule: str
    judge: Callable[[Scene], Verdict]


def read_rows(engine: Engine, statement: str) -> list[Row]:
    """Every row of a statement, as mappings."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text(statement)).mappings()]


def _first_sync(scene: Scene) -> Verdict:
    codes = {product.item_code for product in scene.menu.products if product.name}
    found = f"{len(scene.before)} items from {len(scene.menu.products)} POS rows"
    return Verdict(found, scene.before.keys() == codes and scene.syncs[0]["inserted"] == len(codes))


def _empty_sku(scene: Scene) -> Verdict:
    code = scene.cases.empty_sku_product_id
    return Verdict(f"{scene.after[code]['name']} is keyed {code[:8]}…", scene.after[code]["visible"])


def _duplicate(scene: Scene) -> Verdict:
    code = scene.cases.duplicate_sku
    rows = [product for product in scene.menu.products if product.item_code == code]
    [active] = [product for product in rows if product.is_active]
    row = scene.after[code]
    return Verdict(f"{len(rows)} rows {code} became 1", len(rows) > 1 and row["visible"] and active.name in row["name"])


def _rejected(scene: Scene) -> Verdict:
    expected = 1 if scene.cases.nameless_product_id else 0
    found = f"{scene.syncs[0]['rejected']} rejected, {len(scene.before)} applied"
    return Verdict(found, scene.syncs[0]["rejected"] == expected and bool(scene.before))


def _variants(scene: Scene) -> Verdict:
    rows = [scene.after[code] for code in scene.cases.variant_family]
    distinct = {str(row["variant_options"]) for row in rows}
    one_family = len({row["variant_group"] for row in rows}) == 1
    return Verdict(f"{len(rows)} items, e.g. {rows[0]['name']}", one_family and len(distinct) == len(rows) > 1)


def _bundle(scene: Scene) -> Verdict:
    wire = scene.menu.product(scene.cases.comboset).components
    rows = [row for row in scene.components if row["item_code"] == scene.cases.comboset and row["visible"]]
    kept = [(row["slot"], row["component_item_code"]) for row in rows]
    repeats = len(kept) - len(set(kept))
    same = kept == [(part.slot, part.sku or part.product_id) for part in wire]
    return Verdict(f"{len(rows)} components, {repeats} repeated", same and repeats > 0)


def _modifiers(scene: Scene) -> Verdict:
    code = scene.cases.wrong_inner_group
    wire = {
        (group.group_id, modifier.modifier_id)
        for group in scene.menu.product(code).modifier_groups
        for modifier in group.modifiers
    }
    rows = {(row["modifier_code"], row["option_code"]) for row in scene.modifiers if row["item_code"] == code}
    return Verdict(f"{len(rows)} options under {len({group for group, _ in rows})} groups", rows == wire)


def _no_picture(scene: Scene) -> Verdict:
    row = scene.after[scene.cases.no_picture]
    return Verdict("no picture, no copy", row["external_image_url"] is None and row["main_image_url"] is None)


def _bad_picture(code: str, scene: Scene) -> Verdict:
    reason = scene.failures.get(code, "no reason on record")
    return Verdict(f"not copied: {reason}", code in scene.failures and scene.after[code]["main_image_url"] is None)


def _broken_picture(scene: Scene) -> Verdict:
    return _bad_picture(scene.cases.broken_picture, scene)


def _missing_picture(scene: Scene) -> Verdict:
    return _bad_picture(scene.cases.missing_picture, scene)


def _shared_picture(scene: Scene) -> Verdict:
    paths = {scene.after[code]["main_image_url"] for code in scene.cases.shared_picture}
    return Verdict("2 items, 1 object", len(paths) == 1 and paths <= scene.objects)


def _merchant_rename(scene: Scene) -> Verdict:
    row = scene.after[scene.cases.to_rename_by_merchant]
    return Verdict(f"“{row['name']}” stays", row["name"] == MERCHANT_NAME and row["original_name"] != MERCHANT_NAME)


def _contested_rename(scene: Scene) -> Verdict:
    row = scene.after[scene.cases.renamed_by_both]
    kept = row["name"] == MERCHANT_NAME_OVER_POS and row["original_name"] == POS_NAME
    return Verdict(
        f"“{row['name']}” stays; original is “{row['original_name']}”", kept and scene.syncs[1]["names_kept"] == 1
    )


def _pos_rename(scene: Scene) -> Verdict:
    code = scene.cases.to_rename_by_pos
    old, row = scene.before[code], scene.after[code]
    flowed = row["name"] == row["original_name"] == POS_NAME != old["name"]
    return Verdict(f"“{old['name']}” is now “{row['name']}”", flowed and row["id"] == old["id"])


def _own_photo(scene: Scene) -> Verdict:
    code = scene.cases.to_photo_by_merchant
    old, row = scene.before[code], scene.after[code]
    refreshed = row["external_image_url"] != old["external_image_url"]
    return Verdict(f"{row['main_image_url']} stays", row["main_image_url"] == scene.photo and refreshed)


def _pos_photo(scene: Scene) -> Verdict:
    code = scene.cases.to_photo_by_pos
    old, new = scene.before[code]["main_image_url"], scene.after[code]["main_image_url"]
    return Verdict(f"…{str(new)[-16:]} replaces …{str(old)[-16:]}", old != new and {old, new} <= scene.objects)


def _price(scene: Scene) -> Verdict:
    code = scene.cases.to_price_by_merchant
    base = scene.after[code]["base_price"]
    menu_prices = [row["price"] for row in scene.prices if row["item_code"] == code]
    unpriced = all(row["base_price"] is None for other, row in scene.after.items() if other != code)
    return Verdict(
        f"{base} stays; no other item has one", base == MERCHANT_PRICE and menu_prices == [base] and unpriced
    )


def _deactivated(scene: Scene) -> Verdict:
    code = scene.cases.to_deactivate
    hidden = scene.before[code]["visible"] and not scene.after[code]["visible"]
    same = scene.after[code]["id"] == scene.before[code]["id"]
    return Verdict("hidden, row kept", hidden and same and scene.syncs[1]["hidden"] == 1)


def _removed(scene: Scene) -> Verdict:
    code = scene.cases.to_remove
    same = scene.after.get(code) == scene.before[code]
    return Verdict(f"left as it was, {scene.syncs[1]['stale']} stale", same and scene.syncs[1]["stale"] == 1)


def _copies(scene: Scene) -> Verdict:
    prefix = f"{scene.menu.tenant_id}/items/"
    paths = {row["main_image_url"] for row in scene.after.values() if str(row["main_image_url"]).startswith(prefix)}
    sound = all(hashlib.sha256(scene.bucket.read(path)).hexdigest() in path for path in paths & scene.objects)
    uncopied = {code for code, row in scene.after.items() if row["external_image_url"] and not row["main_image_url"]}
    complete = bool(paths) and uncopied <= scene.failures.keys()
    return Verdict(f"{len(paths)} objects, names match content", complete and paths <= scene.objects and sound)


def _nothing_changed(scene: Scene) -> Verdict:
    third = scene.syncs[2]
    written = third["inserted"] + third["updated"] + third["children_inserted"] + third["children_updated"]
    return Verdict(f"{third['unchanged']} unchanged, {written} rows written", written == 0 and third["unchanged"] > 0)


CASES = (
    Case("first sync", "the POS owns which products exist", _first_sync),
    Case("product without SKU", "item_code is the SKU, else the product id", _empty_sku),
    Case("one SKU on two rows", "active first, newest, then smallest id", _duplicate),
    Case("row without a name", "one bad row never costs the others", _rejected),
    Case("variants", "each is an item, tied by variant_group", _variants),
    Case("comboset", "components keep order and repeats", _bundle),
    Case("modifier with a foreign group id", "the nesting counts", _modifiers),
    Case("product without picture", "nothing to copy", _no_picture),
    Case("broken picture", "only what decodes fully is copied", _broken_picture),
    Case("picture that is gone", "tried again tomorrow, with a reason", _missing_picture),
    Case("two items, one picture", "one download, one object", _shared_picture),
    Case("merchant renames", "Cata's edits survive", _merchant_rename),
    Case("merchant and POS rename", "name kept, original_name follows", _contested_rename),
    Case("POS renames", "name follows while nobody edited it", _pos_rename),
    Case("merchant sets an own photo", "a Cata user's picture is never replaced", _own_photo),
    Case("POS changes a photo", "new picture, new object, old one kept", _pos_photo),
    Case("merchant sets a price", "prices are Cata's, never written", _price),
    Case("POS deactivates", "hidden, never deleted", _deactivated),
    Case("POS removes", "left alone, reported as stale", _removed),
    Case("every copied picture", "row names an object that exists", _copies),
    Case("sync with nothing new", "changed rows only", _nothing_changed),
)
