"""Flattens a snapshot into the tables that are staged, and sets aside what the tenant's columns cannot hold.

Pure Arrow in, Arrow out: no engine is known here. A row that does not fit is staged all the same, marked not
`writable`, so that what is stored of it stays and is neither called stale nor hidden.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cata_pipeline.catalog.model import MAX_ITEM_CODE_BYTES, Rejection
from cata_pipeline.reconcile.contract import ActualColumn, BoundColumn, BoundTable, Contract
from cata_pipeline.reconcile.policy import BUNDLE_COMPONENTS, ITEMS, MODIFIER_OPTIONS, MODIFIERS, Kind


@dataclass(frozen=True)
class Staged:
    """The staged tables by policy table name, and the items and children that do not fit.

    `rejections` has one entry for each item that does not fit; `children_rejected` counts the rest.
    """

    tables: Mapping[str, pa.Table]
    rejections: tuple[Rejection, ...]
    children_rejected: int


def stage_tables(catalog: pa.Table, contract: Contract) -> Staged:
    """Flatten a catalog (rows as `snapshot.SCHEMA`) for the tables of the contract."""
    flat = _flatten(catalog.combine_chunks())
    tables: dict[str, pa.Table] = {}
    rejections: list[Rejection] = []
    children_rejected = 0
    for bound in contract.tables:
        rows = flat[bound.name]
        problems = _problems(rows, bound)
        if bound.table is ITEMS:
            rejections = [
                Rejection(catalog["provider_id"][row].as_py(), catalog["item_code"][row].as_py(), reason)
                for row, reason in sorted(problems.items())
            ]
        else:
            children_rejected += len(problems)
        tables[bound.name] = _mark(rows, problems, tables, bound)
    return Staged(tables, tuple(rejections), children_rejected)


def _flatten(catalog: pa.Table) -> dict[str, pa.Table]:
    codes = catalog["item_code"].combine_chunks()
    groups, group_items = _children(catalog["modifier_groups"])
    options, option_groups = _children(pc.struct_field(groups, "modifiers"))
    components, component_items = _children(catalog["bundle_components"])
    group_codes = pc.struct_field(groups, "code")
    items = catalog.select(
        [
            "item_code",
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
    return {
        ITEMS.name: items,
        MODIFIERS.name: pa.table(
            {
                "item_code": codes.take(group_items),
                "modifier_code": group_codes,
                "name": pc.struct_field(groups, "name"),
                "is_active": pc.struct_field(groups, "is_active"),
                "position": _positions(group_items),
                "parent": group_items,
            }
        ),
        MODIFIER_OPTIONS.name: pa.table(
            {
                "item_code": codes.take(group_items).take(option_groups),
                "modifier_code": group_codes.take(option_groups),
                "option_code": pc.struct_field(options, "code"),
                "name": pc.struct_field(options, "name"),
                "is_active": pc.struct_field(options, "is_active"),
                "position": _positions(option_groups),
                "parent": option_groups,
            }
        ),
        BUNDLE_COMPONENTS.name: pa.table(
            {
                "item_code": codes.take(component_items),
                "slot": pc.struct_field(components, "slot"),
                "component_item_code": pc.struct_field(components, "item_code"),
                "occurrence": _occurrences(components, component_items),
                "name": pc.struct_field(components, "name"),
                "quantity": pc.struct_field(components, "quantity"),
                "is_active": pa.repeat(True, len(components)),
                "position": _positions(component_items),
                "parent": component_items,
            }
        ),
    }


def _children(lists: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, pa.Array]:
    """The list elements in order, and for each the row it came from."""
    whole = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    return pc.list_flatten(whole), pc.list_parent_indices(whole)


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
    told = [json.dumps(word, ensure_ascii=False) for word in words.dictionary.to_pylist()]
    return pa.array(told, pa.string()).take(words.indices)


def _problems(rows: pa.Table, bound: BoundTable) -> dict[int, str]:
    """For each row that does not fit, the first reason."""
    problems: dict[int, str] = {}
    for column in (*bound.keys, *bound.written):
        values = rows[column.column.source]
        for row, reason in _column_problems(values, column):
            problems.setdefault(row, f"{column.name} {reason}")
    for row, reason in _key_problems(rows, bound):
        problems.setdefault(row, reason)
    return problems


def _key_problems(rows: pa.Table, bound: BoundTable) -> Iterator[tuple[int, str]]:
    """Keys longer than an index holds, whose error would cost the whole tenant."""
    texts = [column.column for column in bound.keys if column.column.kind is Kind.TEXT]
    lengths = functools.reduce(pc.add, [pc.binary_length(rows[text.source]) for text in texts])
    for row in _where(pc.greater(lengths, MAX_ITEM_CODE_BYTES)):
        named = " and ".join(text.name for text in texts)
        yield row, f"{named} come to {lengths[row].as_py()} bytes; an index takes {MAX_ITEM_CODE_BYTES}"


def _column_problems(values: pa.ChunkedArray, column: BoundColumn) -> Iterator[tuple[int, str]]:
    actual, kind = column.actual, column.column.kind
    if not actual.nullable and actual.default is None and values.null_count:
        for row in _where(values.is_null()):
            yield row, "is not given; the column takes no NULL and has no default"
    if kind in {Kind.TEXT, Kind.JSON}:
        yield from _text_problems(values, actual)
    if actual.labels is not None:
        for row in _where(pc.invert(pc.is_in(values, pa.array([*actual.labels, None], pa.string())))):
            yield row, f"is {values[row].as_py()!r}; the column takes {', '.join(sorted(actual.labels))}"
    if kind is Kind.DECIMAL:
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
    if actual.basic_plane_only:
        for row in _where(beyond_basic_plane(values)):
            yield row, "holds a 4-byte character, such as an emoji; the column takes none (utf8mb3)"


def beyond_basic_plane(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each text holds a character that takes four bytes in UTF-8."""
    return pc.match_substring_regex(texts, r"[\x{10000}-\x{10FFFF}]")


def _number_problems(values: pa.ChunkedArray, actual: ActualColumn) -> Iterator[tuple[int, str]]:
    numbers = pc.abs(pc.cast(values, pa.float64()))
    if actual.max_magnitude is not None:
        for row in _where(pc.greater_equal(numbers, actual.max_magnitude)):
            yield row, f"is {values[row].as_py()}; the column takes less than {actual.max_magnitude:g}"
    if actual.whole:
        for row in _where(pc.not_equal(numbers, pc.floor(numbers))):
            yield row, f"is {values[row].as_py()}; the column takes whole numbers"


def _where(condition: pa.ChunkedArray) -> list[int]:
    return pc.indices_nonzero(pc.fill_null(condition, False)).to_pylist() if pc.any(condition).as_py() else []


def _mark(rows: pa.Table, problems: dict[int, str], staged: Mapping[str, pa.Table], bound: BoundTable) -> pa.Table:
    writable = np.ones(rows.num_rows, dtype=bool)
    writable[list(problems)] = False
    if bound.table.parent:
        parents = rows["parent"].combine_chunks()
        writable &= (
            staged[bound.table.parent.name]["writable"].combine_chunks().take(parents).to_numpy(zero_copy_only=False)
        )
        rows = rows.drop_columns(["parent"])
    return rows.append_column("writable", pa.array(writable))
