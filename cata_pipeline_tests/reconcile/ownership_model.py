"""The oracle of the property test: the ownership rules of `docs/field-ownership.md` in plain dictionaries.

Written from the document and sharing nothing with `cata_pipeline.reconcile`, so that one mistake cannot hide in both.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from cata_pipeline.catalog.model import Item

Key = tuple[Any, ...]
Row = dict[str, Any]
Tables = dict[str, dict[Key, Row]]

TABLES = ("items", "item_modifiers", "item_modifier_options", "item_bundle_components")
PARENTS = {
    "item_modifiers": "items",
    "item_modifier_options": "item_modifiers",
    "item_bundle_components": "items",
}
OWN_KEYS = {
    "items": ("item_code",),
    "item_modifiers": ("modifier_code",),
    "item_modifier_options": ("option_code",),
    "item_bundle_components": ("slot", "component_item_code", "occurrence"),
}

_CATA_DEFAULTS: dict[str, Row] = {
    "items": {"base_price": None, "main_image_url": None, "staff_note": "new"},
    "item_modifiers": {"staff_note": "new"},
    "item_modifier_options": {"price": None, "staff_note": "new"},
    "item_bundle_components": {"staff_note": "new"},
}
_EMPTY: dict[str, Row] = {
    "items": {
        "original_name": None,
        "name": None,
        "description": None,
        "category": None,
        "item_type": None,
        "variant_group": None,
        "variant_options": None,
        "visible": True,
        "external_image_url": None,
    },
    "item_modifiers": {"original_name": None, "name": None, "position": 0, "visible": True},
    "item_modifier_options": {"original_name": None, "name": None, "position": 0, "visible": True},
    "item_bundle_components": {
        "original_name": None,
        "name": None,
        "quantity": Decimal(1),
        "position": 0,
        "visible": True,
    },
}
_LONGEST = {"item_type": 64, "description": None, "external_image_url": None}  # others: 255 characters
_OPTIONAL = {"description", "category", "item_type", "variant_group", "variant_options", "external_image_url"}
_GIVEN_BY_THE_DATABASE = ("id", "created_at")


@dataclass(frozen=True)
class Edit:
    """What a Cata user does to one row: `verb` is set, insert, delete or menu (put the item on a menu at a price)."""

    verb: str
    table: str
    key: Key
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What a sync decides before it writes: rows to write with the provider's word for them, children to hide."""

    write: Tables
    hide: dict[str, set[Key]]
    accepted: int
    rejected: int
    children_rejected: int
    stale: int
    refused_as_empty: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not any(self.write.values()) and not any(self.hide.values())


@dataclass
class Outcome:
    """What a sync did: counts by the words of the metadata contract, rows written, and lines of the change file."""

    items: Counter[str] = field(default_factory=Counter)
    children: Counter[str] = field(default_factory=Counter)
    written: set[tuple[str, Key]] = field(default_factory=set)
    changes: Counter[tuple[str, str, str, str | None, str | None]] = field(default_factory=Counter)


class TenantModel:
    """The tables of one tenant, and what syncs and Cata users do to them."""

    def __init__(self, *, keeps_original_description: bool) -> None:
        self.tables: Tables = {table: {} for table in TABLES}
        self.menus: list[tuple[Key, Decimal]] = []
        self._keeps_original_description = keeps_original_description
        self._ids: dict[str, set[int]] = {table: set() for table in TABLES}

    def adopt(self, stored: Tables) -> None:
        """Take over what only the database can know of a new row; an id that was ever used before is an error."""
        for table, rows in self.tables.items():
            new = [key for key, row in rows.items() if row["id"] is None and key in stored[table]]
            for key in new:
                given = {column: stored[table][key][column] for column in _GIVEN_BY_THE_DATABASE}
                assert given["id"] not in self._ids[table]
                self._ids[table].add(given["id"])
                rows[key].update(given)

    def is_possible(self, edit: Edit) -> bool:
        """Whether the row is there (or not yet, for an insertion) and nothing refers to an item to be deleted."""
        row = self.tables[edit.table].get(edit.key)
        if edit.verb == "insert":
            parent = PARENTS.get(edit.table)
            return row is None and (parent is None or self.row_id(parent, self.parent_key(edit.table, edit.key)) != 0)
        if row is None or row["id"] is None:
            return False
        return edit.verb != "delete" or not self._is_referred_to(edit.key)

    def edit(self, edit: Edit) -> None:
        """Do what a Cata user does."""
        if edit.verb == "set":
            self.tables[edit.table][edit.key].update(edit.values)
        elif edit.verb == "insert":
            self._insert(edit.table, edit.key, edit.values)
        elif edit.verb == "delete":
            del self.tables[edit.table][edit.key]
        else:
            self.menus.append((edit.key, edit.values["price"]))

    def plan(self, items: Sequence[Item]) -> Plan:
        """What a sync of these items would want to write, as the tables are now."""
        named = _named(items)
        taken, refused = _taken(named)
        write = {
            table: {
                key: word
                for key, word in taken[table].items()
                if key not in rows or self._resynced(rows[key], word) != rows[key]
            }
            for table, rows in self.tables.items()
        }
        listing = _listing(items)
        hide = {
            table: {
                key
                for key, row in rows.items()
                if row["visible"]
                and key not in named[table]
                and (parent := self.parent_key(table, key)) in listing[table]
                and parent in taken[PARENTS[table]]
            }
            for table, rows in self.tables.items()
            if table in PARENTS
        }
        stored = self.tables["items"]
        return Plan(
            write=write,
            hide=hide,
            accepted=len(taken["items"]),
            rejected=refused["items"],
            children_rejected=sum(refused[table] for table in PARENTS),
            stale=len(stored.keys() - named["items"].keys()),
            refused_as_empty=not taken["items"] and any(row["visible"] for row in stored.values()),
        )

    def apply(self, plan: Plan) -> Outcome:
        """Carry out a plan on the tables as they are now, which may be later than when it was made."""
        outcome = Outcome()
        for table, words in plan.write.items():
            counts = outcome.items if table == "items" else outcome.children
            for key, word in words.items():
                old = self.tables[table].get(key)
                if old is not None:
                    self._update(table, key, old, self._resynced(old, word), outcome, counts)
                elif table == "items" or self.parent_key(table, key) in self.tables[PARENTS[table]]:
                    self._insert(table, key, self._first_words(word))
                    _note(outcome, "inserted", table, key, None)
                    counts["inserted"] += 1
            for key in plan.hide.get(table, ()):
                row = self.tables[table].get(key)
                if row is not None and row["visible"]:
                    row["visible"] = False
                    _note(outcome, "hidden", table, key, "visible")
                    counts["hidden"] += 1
        return outcome

    def row_id(self, table: str, key: Key) -> int:
        """The id of a row, 0 where there is none or it is not known yet."""
        row = self.tables[table].get(key)
        return int((row or {}).get("id") or 0)

    @staticmethod
    def parent_key(table: str, key: Key) -> Key:
        """The key of a child's parent."""
        return key[: -len(OWN_KEYS[table])]

    def _is_referred_to(self, item: Key) -> bool:
        children = (key for table in PARENTS for key in self.tables[table])
        return any(key[:1] == item for key in (*children, *(key for key, _ in self.menus)))

    def _insert(self, table: str, key: Key, values: Mapping[str, Any]) -> None:
        row: Row = dict.fromkeys(_GIVEN_BY_THE_DATABASE) | _EMPTY[table] | _CATA_DEFAULTS[table]
        if table == "items" and self._keeps_original_description:
            row["original_description"] = None
        self.tables[table][key] = row | dict(values)

    def _first_words(self, word: Row) -> Row:
        first = {column: value for column, value in word.items() if column != "description"}
        if word["visible"] is None:
            first["visible"] = True
        first["name"] = word["original_name"]
        if "description" in word:
            first["description"] = word["description"]
            if self._keeps_original_description:
                first["original_description"] = word["description"]
        return first

    def _resynced(self, stored: Row, word: Row) -> Row:
        """The row after the provider had its say: what Cata's people changed stays as it is."""
        row = dict(stored)
        for column, value in word.items():
            if column == "description":
                row.update(self._description(stored, value))
            elif column != "visible" or value is not None:
                row[column] = value
        if stored["name"] == stored["original_name"]:
            row["name"] = word["original_name"]
        return row

    def _description(self, stored: Row, text: str | None) -> Row:
        if not self._keeps_original_description:
            return {} if stored["description"] is not None else {"description": text}
        follows = stored["description"] == stored["original_description"]
        return {"original_description": text} | ({"description": text} if follows else {})

    def _update(self, table: str, key: Key, old: Row, new: Row, outcome: Outcome, counts: Counter[str]) -> None:
        changed = {column for column, value in new.items() if value != old[column]}
        if not changed:
            return
        for column in changed:
            _note(outcome, "updated", table, key, column)
        counts["updated"] += 1
        if table == "items":
            edited = old["name"] != old["original_name"]
            counts["renamed"] += "original_name" in changed and not edited
            counts["names_kept"] += "original_name" in changed and edited
            counts["hidden"] += old["visible"] and not new["visible"]
            counts["shown"] += new["visible"] and not old["visible"]
            counts["image_urls_changed"] += "external_image_url" in changed
        self.tables[table][key] = new


def _note(outcome: Outcome, action: str, table: str, key: Key, column: str | None) -> None:
    outcome.written.add((table, key))
    path = json.dumps(key[1:], ensure_ascii=False) if key[1:] else None
    outcome.changes[table, action, key[0], path, column] += 1


def _named(items: Iterable[Item]) -> Tables:
    """Every row the provider names, with its word for each column; its name goes by `original_name`."""
    rows: Tables = {table: {} for table in TABLES}
    for item in items:
        code = item.item_code
        rows["items"][code,] = {
            "original_name": item.name,
            "description": item.description,
            "visible": item.is_active,
            "external_image_url": item.external_image_url,
            "category": item.category,
            "item_type": item.item_type,
            "variant_group": item.variant_group,
            "variant_options": [{"option": o.option, "value": o.value} for o in item.variant_options] or None,
        }
        for place, group in enumerate(item.modifier_groups or ()):
            rows["item_modifiers"][code, group.code] = _child(group.name, place, visible=group.is_active)
            for position, modifier in enumerate(group.modifiers):
                path = (code, group.code, modifier.code)
                rows["item_modifier_options"][path] = _child(modifier.name, position, visible=modifier.is_active)
        equals: Counter[tuple[str, str]] = Counter()
        for place, part in enumerate(item.bundle_components or ()):
            equals[part.slot, part.item_code] += 1
            key = (code, part.slot, part.item_code, equals[part.slot, part.item_code])
            quantity = Decimal(part.quantity).quantize(Decimal("0.0001"), ROUND_HALF_UP)
            rows["item_bundle_components"][key] = _child(part.name, place, visible=True) | {"quantity": quantity}
    return rows


def _child(name: str, position: int, *, visible: bool | None) -> Row:
    return {"original_name": name, "position": position, "visible": visible}


def _listing(items: Iterable[Item]) -> dict[str, set[Key]]:
    """The present parents whose children the provider tells, be it that there are none."""
    listing: dict[str, set[Key]] = {table: set() for table in PARENTS}
    for item in items:
        if item.modifier_groups is not None:
            listing["item_modifiers"].add((item.item_code,))
            listing["item_modifier_options"] |= {(item.item_code, group.code) for group in item.modifier_groups}
        if item.bundle_components is not None:
            listing["item_bundle_components"].add((item.item_code,))
    return listing


def _taken(named: Tables) -> tuple[Tables, Counter[str]]:
    """The rows that fit the columns and whose parents do; how many of each table do not fit themselves.

    An optional value that does not fit is not the provider's word: what is stored stays.
    """
    taken: Tables = {}
    refused: Counter[str] = Counter()
    for table, rows in named.items():
        spoken = {
            key: {column: value for column, value in word.items() if column not in _OPTIONAL or _fits(column, value)}
            for key, word in rows.items()
        }
        fitting = {
            key: word
            for key, word in spoken.items()
            if all(_fits(*pair) for pair in (*_own_key(table, key), *word.items()))
        }
        refused[table] = len(rows) - len(fitting)
        parent = PARENTS.get(table)
        taken[table] = {
            key: word
            for key, word in fitting.items()
            if parent is None or TenantModel.parent_key(table, key) in taken[parent]
        }
    return taken, refused


def _own_key(table: str, key: Key) -> Iterator[tuple[str, Any]]:
    return zip(OWN_KEYS[table], key[-len(OWN_KEYS[table]) :], strict=True)


def _fits(column: str, value: object) -> bool:
    longest = _LONGEST.get(column, 255)
    return not (isinstance(value, str) and longest is not None and len(value) > longest)
