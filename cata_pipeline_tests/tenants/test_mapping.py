from pathlib import Path

import pytest

from cata_pipeline.errors import UsageError
from cata_pipeline.tenants.mapping import SAME_NAMES, SchemaMapping, read_mapping

KNOWN = {"items": ["id", "item_code", "name"], "item_modifiers": ["id", "name"]}


def write(folder: Path, text: str) -> Path:
    path = folder / "mapping.toml"
    path.write_text(text)
    return path


def test_an_empty_file_changes_no_name(tmp_path: Path) -> None:
    assert read_mapping(write(tmp_path, ""), KNOWN).table("items") == SAME_NAMES.table("items") == "items"


def test_tables_and_columns_get_their_names_and_the_others_keep_ours(tmp_path: Path) -> None:
    mapping = read_mapping(
        write(
            tmp_path,
            '[items]\ntable = "products"\ncolumns = { item_code = "sku" }\n[item_modifiers.columns]\nname = "Título"\n',
        ),
        KNOWN,
    )
    assert mapping == SchemaMapping(
        {"items": "products", "item_modifiers": "item_modifiers"},
        {("items", "item_code"): "sku", ("item_modifiers", "name"): "Título"},
    )
    assert (mapping.table("items"), mapping.column("items", "item_code")) == ("products", "sku")
    assert (mapping.column("items", "name"), mapping.column("item_modifiers", "name")) == ("name", "Título")


def test_names_may_change_places(tmp_path: Path) -> None:
    mapping = read_mapping(write(tmp_path, '[items.columns]\nname = "id"\nid = "name"\n'), KNOWN)
    assert (mapping.column("items", "name"), mapping.column("items", "id")) == ("id", "name")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[menus]\n", "there is no table menus; expected items, item_modifiers"),
        ('items = "products"\n', r"items is no table of names; expected \[items\]"),
        ('[items]\ncolumn = "x"\n', r"\[items\] holds column; expected table and columns"),
        ('[items]\ncolumns = "x"\n', r"columns of \[items\] is no table of names"),
        ('[items.columns]\nprice = "x"\n', "items has no column price; expected one of id, item_code, name"),
        ('[items]\ntable = ""\n', "'' is no name"),
        ("[items]\ntable = 'a\"b'\n", "is no name"),
        ('[items.columns]\nname = "100%"\n', "'100%' is no name"),
        ("[items.columns]\nname = 7\n", "7 is no name"),
        (f'[items.columns]\nname = "{"x" * 64}"\n', "is no name"),
        ('[items.columns]\nname = "item_code"\n', "items.item_code and items.name are both called 'item_code'"),
        ('[items.columns]\nname = "ID"\n', "items.id and items.name are both called 'ID'"),
        ('[items]\ntable = "item_modifiers"\n', "items and item_modifiers are both called 'item_modifiers'"),
        ("[items", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        read_mapping(write(tmp_path, text), KNOWN)


def test_everything_wrong_is_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no table menus.*no column price"):
        read_mapping(write(tmp_path, '[menus]\n[items.columns]\nprice = "x"\n'), KNOWN)
