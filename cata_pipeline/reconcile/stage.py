"""Flattens a snapshot into the tables that are staged, and sets aside what the tenant's columns cannot hold.

Pure Arrow in, Arrow out: no engine is known here. A row that does not fit is staged all the same, marked not
`writable`, so that what is stored of it stays and is neither called stale nor hidden. An optional value that does not
fit costs no row: it is staged as NULL with a mark that keeps the stored value.
"""

import functools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cata_pipeline.catalog.model import MAX_ITEM_CODE_BYTES, Rejection
from cata_pipeline.reconcile.contract import ActualColumn, BoundColumn, BoundTable, Contract
from cata_pipeline.reconcile.policy import BUNDLE_COMPONENTS, ITEMS, MODIFIER_OPTIONS, MODIFIERS, Kind, Table


@dataclass(frozen=True)
class KeptValue:
    """A provider value that does not fit its column, so that the stored one stays; `reason` names the column."""

    item_code: str
    reason: str


@dataclass(frozen=True)
class RejectedRow:
    """A row that is not written, and why; `table` is the policy's name, `key` the row's keys within its item."""

    table: str
    item_code: str
    provider_id: str | None
    key: tuple[object, ...]
    reason: str

    @property
    def is_item(self) -> bool:
        """Whether it is a row of `items` itself."""
        return self.table == ITEMS.name

    def child(self, table: Table, own_key: Sequence[object]) -> "RejectedRow":
        """Return a child of this row as rejected for the same reason."""
        return RejectedRow(table.name, self.item_code, None, (*self.key, *own_key), self.reason)

    @property
    def rejection(self) -> Rejection:
        """The row as reports name it."""
        child = "" if self.is_item else f"{self.table} {', '.join(map(str, self.key))}: "
        return Rejection(self.provider_id, self.item_code, child + self.reason)


@dataclass(frozen=True)
class StagedTable:
    """The staged rows of one tenant table; row `i` has the number `i + 1`, in `n`.

    `rows` has the keys from the item down, the source columns, `writable`, and in a structure table `parent_n`, the
    number of the parent's row. `kept` are the sources for which a column `keeps_SOURCE` says where the stored value
    stays. `not_insertable` names, by number, rows that fit only where they exist already, and why.
    """

    table: Table
    rows: pa.Table
    kept: tuple[str, ...] = ()
    not_insertable: Mapping[int, str] = field(default_factory=dict)

    def at(self, numbers: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> pa.Table:
        """Return the rows of these numbers; a slice, which copies nothing, where they are consecutive."""
        if len(numbers) and numbers[-1] - numbers[0] + 1 == len(numbers) and (np.diff(numbers) == 1).all():
            return self.rows.slice(numbers[0] - 1, len(numbers))
        return self.rows.take(pa.array(numbers - 1))

    def rejected(self, number: int, reason: str) -> RejectedRow:
        """Return a staged row as rejected."""
        item_code, *key = (self.rows[name][number - 1].as_py() for name in self.table.keys)
        provider_id = self.rows["provider_id"][number - 1].as_py() if self.table is ITEMS else None
        return RejectedRow(self.table.name, item_code, provider_id, tuple(key), reason)

    def omissions(self, columns: Sequence[BoundColumn]) -> list[frozenset[str]]:
        """The sets of those columns, by source, for which some row has no value: the database fills them on insert."""
        frame = pd.DataFrame({c.column.source: self.rows[c.column.source].is_null().to_pandas() for c in columns})
        if frame.empty:
            return [frozenset()]
        patterns = frame.drop_duplicates().to_dict("records")
        return [frozenset(str(name) for name, missing in pattern.items() if missing) for pattern in patterns]


_EXACT = Context(prec=2000)
"""More digits than any engine's decimal and any quantity have together."""


@dataclass(frozen=True)
class Staged:
    """The staged tables by policy table name, and what does not fit.

    `rejected` has one entry for each row that does not fit, `kept` one for each optional value that does not.
    """

    tables: Mapping[str, StagedTable]
    rejected: tuple[RejectedRow, ...]
    kept: tuple[KeptValue, ...]


def stage_tables(
    catalog: pa.Table, contract: Contract, previous: Callable[[], pa.Table | None] = lambda: None
) -> Staged:
    """Flatten a catalog (rows as `snapshot.SCHEMA`) for the tables of the contract.

    `previous` returns the catalog that was applied last; it is called where children omit whether they are active.
    """
    flat = _flatten(catalog.combine_chunks())
    _show_listed_again(flat, previous)
    tables: dict[str, StagedTable] = {}
    rejected: list[RejectedRow] = []
    kept: list[KeptValue] = []
    for bound in contract.tables:
        rows = flat[bound.name]
        found = _judge(rows, bound)
        tables[bound.name] = _marked(rows, found, tables, bound)
        rejected += [tables[bound.name].rejected(row + 1, reason) for row, reason in sorted(found.problems.items())]
        kept += [
            KeptValue(rows["item_code"][row].as_py(), reason)
            for source in found.misfits.values()
            for row, reason in sorted(source.items())
            if row not in found.problems
        ]
    return Staged(tables, tuple(rejected), tuple(kept))


def _flatten(catalog: pa.Table) -> dict[str, pa.Table]:
    codes = catalog["item_code"].combine_chunks()
    groups, group_items = _children(catalog["modifier_groups"])
    options, option_groups = _children(pc.struct_field(groups, "modifiers"))
    components, component_items = _children(catalog["bundle_components"])
    group_codes = pc.struct_field(groups, "code")
    items = catalog.select(
        [
            "item_code",
            "provider_id",
            "name",
            "is_active",
            "description",
            "category",
            "item_type",
            "external_image_url",
            "variant_group",
        ]
    )
    items = items.append_column("variant_options", _options_json(catalog["variant_options"]))
    items = items.append_column("lists_modifiers", catalog["modifier_groups"].is_valid())
    items = items.append_column("lists_components", catalog["bundle_components"].is_valid())
    items = items.append_column("is_parent", _is_parent(len(items), group_items, component_items))
    return {
        ITEMS.name: items,
        MODIFIERS.name: pa.table(
            {
                "parent_n": _numbers(group_items),
                "item_code": codes.take(group_items),
                "modifier_code": group_codes,
                "name": pc.struct_field(groups, "name"),
                "is_active": pc.struct_field(groups, "is_active"),
                "position": _positions(group_items),
                "is_parent": _is_parent(len(groups), option_groups),
            }
        ),
        MODIFIER_OPTIONS.name: pa.table(
            {
                "parent_n": _numbers(option_groups),
                "item_code": codes.take(group_items).take(option_groups),
                "modifier_code": group_codes.take(option_groups),
                "option_code": pc.struct_field(options, "code"),
                "name": pc.struct_field(options, "name"),
                "is_active": pc.struct_field(options, "is_active"),
                "position": _positions(option_groups),
            }
        ),
        BUNDLE_COMPONENTS.name: pa.table(
            {
                "parent_n": _numbers(component_items),
                "item_code": codes.take(component_items),
                "slot": pc.struct_field(components, "slot"),
                "component_item_code": pc.struct_field(components, "item_code"),
                "occurrence": _occurrences(components, component_items),
                "name": pc.struct_field(components, "name"),
                "quantity": pc.struct_field(components, "quantity"),
                "is_active": pa.repeat(True, len(components)),
                "position": _positions(component_items),
            }
        ),
    }


def _show_listed_again(flat: dict[str, pa.Table], previous: Callable[[], pa.Table | None]) -> None:
    """Let children be active that omit it, and that the catalog applied last had delisted from the same parent.

    That sync hid them; nothing else would ever show them again.
    """
    silent = [table for table in (MODIFIERS, MODIFIER_OPTIONS) if flat[table.name]["is_active"].null_count]
    if not silent or (applied := previous()) is None:
        return
    before = _flatten(applied.combine_chunks())
    listing = {MODIFIERS.name: before[ITEMS.name].filter(before[ITEMS.name][MODIFIERS.listed_by])}
    listing[MODIFIER_OPTIONS.name] = before[MODIFIERS.name]
    for table in silent:
        assert table.parent is not None
        rows = flat[table.name]
        parents = _paths(listing[table.name], table.parent)
        was_delisted = pc.and_not(
            pc.is_in(_paths(rows, table.parent), parents),
            pc.is_in(_paths(rows, table), _paths(before[table.name], table)),
        )
        active = pc.if_else(pc.and_(rows["is_active"].is_null(), was_delisted), True, rows["is_active"])
        flat[table.name] = rows.set_column(rows.schema.get_field_index("is_active"), "is_active", active)


def _paths(rows: pa.Table, table: Table) -> pa.Array:
    """The keys of rows of this table, from the item down, as one text each; NUL is in no code."""
    return pc.binary_join_element_wise(*(rows[key] for key in table.keys), "\0").combine_chunks()


def _children(lists: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, pa.Array]:
    """The list elements in order, and for each the row it came from."""
    whole = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    return pc.list_flatten(whole), pc.list_parent_indices(whole)


def _numbers(places: pa.Array) -> pa.Array:
    """Row numbers, from 1, of places, from 0."""
    return pc.cast(pc.add(places, 1), pa.int32())


def _is_parent(rows: int, *children: pa.Array) -> pa.Array:
    """Whether each of so many rows is the parent of a row of any other table; `children` hold their parents' places."""
    parents = np.zeros(rows, dtype=bool)
    for places in children:
        parents[places.to_numpy(zero_copy_only=False)] = True
    return pa.array(parents)


def _positions(parents: pa.Array) -> pa.Array:
    """Where each element stands within its parent, from 0; `parents` never decreases."""
    rows = parents.to_numpy(zero_copy_only=False)
    return pa.array(np.arange(len(rows)) - np.searchsorted(rows, rows), pa.int32())


def _occurrences(components: pa.Array, items: pa.Array) -> pa.Array:
    """Which of its equals (same item, slot and code) each component is, from 1."""
    frame = pd.DataFrame(
        {
            "item": items.to_numpy(zero_copy_only=False),
            "slot": pc.struct_field(components, "slot").to_pandas(),
            "code": pc.struct_field(components, "item_code").to_pandas(),
        }
    )
    return pa.array(frame.groupby(["item", "slot", "code"]).cumcount().to_numpy() + 1, pa.int32())


def _options_json(options: pa.ChunkedArray) -> pa.Array:
    """Each list as JSON text with sorted keys, null where it is empty; only distinct words become Python objects."""
    chosen = pc.indices_nonzero(pc.fill_null(pc.greater(pc.list_value_length(options), 0), False))
    if not len(chosen):
        return pa.nulls(len(options), pa.string())
    lists = options.combine_chunks().take(chosen)
    parts = pc.list_flatten(lists)
    named = ('{"option": ', _json_words(parts, "option"), ', "value": ', _json_words(parts, "value"), "}")
    offsets = pa.array(np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy())]), pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, pc.binary_join_element_wise(*named, "")), ", ")
    places = np.full(len(options), -1)
    places[chosen.to_numpy()] = np.arange(len(chosen))
    return pc.binary_join_element_wise("[", joined, "]", "").take(pa.array(places, mask=places < 0))


def _json_words(parts: pa.StructArray, name: str) -> pa.Array:
    words = pc.dictionary_encode(pc.struct_field(parts, name))
    encoded = [json.dumps(word, ensure_ascii=False) for word in words.dictionary.to_pylist()]
    return pa.array(encoded, pa.string()).take(words.indices)


@dataclass
class _Findings:
    """What does not fit, by row place: whole rows (`problems`), optional values by source (`misfits`), new rows."""

    problems: dict[int, str] = field(default_factory=dict)
    misfits: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    not_insertable: dict[int, str] = field(default_factory=dict)


def _judge(rows: pa.Table, bound: BoundTable) -> _Findings:
    """Hold every value against its column; of several reasons the first counts."""
    found = _Findings()
    for column in (*bound.keys, *bound.written):
        values, optional = rows[column.column.source], column.column.may_be_missing
        for row, reason in _column_problems(values, column):
            (found.misfits[column.column.source] if optional else found.problems).setdefault(
                row, f"{column.name} {reason}"
            )
        if optional and not column.actual.nullable and not column.actual.fills_itself:
            for row in _where(values.is_null()):
                found.not_insertable.setdefault(
                    row, f"{column.name} is not given; the column takes no NULL and has no default"
                )
            found.not_insertable |= found.misfits[column.column.source]
    for row, reason in _key_problems(rows, bound):
        found.problems.setdefault(row, reason)
    return found


def _key_problems(rows: pa.Table, bound: BoundTable) -> Iterator[tuple[int, str]]:
    """Keys longer than an index holds, whose error would cost the whole tenant."""
    texts = [column.column for column in bound.keys if column.column.kind is Kind.TEXT]
    lengths = functools.reduce(pc.add, [pc.binary_length(rows[text.source]) for text in texts])
    for row in _where(pc.greater(lengths, MAX_ITEM_CODE_BYTES)):
        named = " and ".join(text.name for text in texts)
        yield row, f"{named} come to {lengths[row].as_py()} bytes; an index takes {MAX_ITEM_CODE_BYTES}"


def _column_problems(values: pa.ChunkedArray, column: BoundColumn) -> Iterator[tuple[int, str]]:
    actual, kind = column.actual, column.column.kind
    if kind in {Kind.TEXT, Kind.JSON}:
        yield from _text_problems(values, actual)
    if actual.labels is not None:
        for row in _where(pc.invert(pc.is_in(values, pa.array([*actual.labels, None], pa.string())))):
            yield row, f"is {values[row].as_py()!r}; the column takes {', '.join(sorted(actual.labels))}"
    if kind in {Kind.DECIMAL, Kind.INTEGER}:
        yield from _number_problems(values, actual)


def _text_problems(values: pa.ChunkedArray, actual: ActualColumn) -> Iterator[tuple[int, str]]:
    if actual.max_characters is not None:
        lengths = pc.utf8_length(values)
        for row in _where(pc.greater(lengths, actual.max_characters)):
            yield row, f"has {lengths[row].as_py()} characters; the column takes {actual.max_characters}"
    if actual.max_bytes is not None:
        lengths = pc.binary_length(values)
        for row in _where(pc.greater(lengths, actual.max_bytes)):
            yield row, f"has {lengths[row].as_py()} bytes; the column takes {actual.max_bytes}"
    if actual.drops_trailing_spaces:
        for row in _where(pc.ends_with(values, " ")):
            yield row, f"ends in a space, which the column ({actual.type_name}) would drop"
    if actual.basic_plane_only:
        for row in _where(beyond_basic_plane(values)):
            yield row, "holds a 4-byte character, such as an emoji; the column takes none (utf8mb3)"


def beyond_basic_plane(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each text holds a character that takes four bytes in UTF-8."""
    return pc.match_substring_regex(texts, r"[\x{10000}-\x{10FFFF}]")


def folded_rivals(staged: StagedTable) -> bool:
    """Whether a unique key that ignores case, accents or trailing spaces could take two staged rows for equal.

    False is certain, and costs little: it is what the codes of most catalogs come to.
    """
    keys = [key.source for key in staged.table.own_keys]
    texts = [name for name in keys if pa.types.is_string(staged.rows[name].type)]
    if any(not pc.all(pc.string_is_ascii(staged.rows[name])).as_py() for name in texts if staged.rows.num_rows):
        return True
    plain = [pc.utf8_rtrim_whitespace(pc.ascii_lower(staged.rows[name])) for name in texts]
    others = [pc.cast(staged.rows[name], pa.string()) for name in keys if name not in texts]
    parents = [pc.cast(staged.rows["parent_n"], pa.string())] if staged.table.parent else []
    folded = pc.binary_join_element_wise(*parents, *plain, *others, "\0")
    return bool(pc.count_distinct(folded).as_py() < staged.rows.num_rows)


def _number_problems(values: pa.ChunkedArray, actual: ActualColumn) -> Iterator[tuple[int, str]]:
    """Judge each distinct number exactly: a binary float would take 9999999999.99995 for what decimal(14, 4) holds."""
    distinct = [value for value in pc.unique(values).to_pylist() if value is not None]
    problems = {value: problem for value in distinct if (problem := _number_problem(Decimal(value), actual))}
    for row in _where(pc.is_in(values, pa.array([*problems], values.type))):
        value = values[row].as_py()
        yield row, f"is {value}; the column takes {problems[value]}"


def _number_problem(number: Decimal, actual: ActualColumn) -> str | None:
    if actual.whole and number != number.to_integral_value():
        return "whole numbers"
    if actual.lowest is None or actual.highest is None:
        return None
    if actual.scale is not None:  # 99.96 is rounded to 100.0, and too large for decimal(3, 1)
        number = number.quantize(Decimal(1).scaleb(-actual.scale), ROUND_HALF_UP, _EXACT)
    return None if actual.lowest <= number <= actual.highest else f"{actual.lowest:f} to {actual.highest:f}"


def _where(condition: pa.ChunkedArray) -> list[int]:
    return pc.indices_nonzero(pc.fill_null(condition, False)).to_pylist() if pc.any(condition).as_py() else []


def _marked(rows: pa.Table, found: _Findings, staged: Mapping[str, StagedTable], bound: BoundTable) -> StagedTable:
    """Number the rows, and mark what does not fit."""
    writable = np.ones(rows.num_rows, dtype=bool)
    writable[list(found.problems)] = False
    if bound.table.parent:
        parents = rows["parent_n"].to_numpy() - 1
        writable &= staged[bound.table.parent.name].rows["writable"].to_numpy()[parents]
    kept = [source for source, misfits in found.misfits.items() if misfits]
    for source in kept:
        misfits = np.zeros(rows.num_rows, dtype=bool)
        misfits[list(found.misfits[source])] = True
        rows = _keeping(rows, source, pa.array(misfits), None)
    for column in (bound_column.column for bound_column in bound.written):
        if column.when_missing is not None and rows[column.source].null_count:
            kept.append(column.source)
            rows = _keeping(rows, column.source, rows[column.source].is_null(), column.when_missing)
    rows = rows.add_column(0, "n", pa.array(np.arange(1, rows.num_rows + 1), pa.int32()))
    not_insertable = {row + 1: reason for row, reason in found.not_insertable.items() if row not in found.problems}
    return StagedTable(bound.table, rows.append_column("writable", pa.array(writable)), tuple(kept), not_insertable)


def _keeping(rows: pa.Table, source: str, kept: pa.Array | pa.ChunkedArray, inserted: bool | None) -> pa.Table:  # noqa: FBT001 a column's value
    """Mark where a known row keeps its stored value, and put the value there that a new row gets."""
    values = pc.if_else(kept, inserted, rows[source])
    rows = rows.set_column(rows.schema.get_field_index(source), source, values)
    return rows.append_column(f"keeps_{source}", kept)
