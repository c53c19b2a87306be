"""How commands print: one JSON object, or tables for people."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

# Names come from merchants: one with an escape sequence would clear or recolour an operator's terminal.
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns under their names, on standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        # As they are: an item code may hold what rich takes for markup.
        table.add_row(*(Text(_CONTROLS.sub(_escaped, str(cell))) for cell in row))
    Console(file=sys.stdout).print(table)


def _escaped(control: re.Match[str]) -> str:
    return f"\\x{ord(control[0]):02x}"


def print_records(records: Sequence[Mapping[str, str]]) -> None:
    """Objects with the same keys as a table; nothing when there are none."""
    if records:
        print_table(tuple(records[0]), [tuple(record.values()) for record in records])


def print_some(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> None:
    """A table of the first of `total` rows, if there are any, and how many more there are."""
    if not rows:
        return
    click.echo(f"\n{title}")
    print_table(names, rows)
    if total > len(rows):
        click.echo(f"and {total - len(rows)} more")


def minute(time: str) -> str:
    """A time in ISO form, to the minute."""
    return time[:16].replace("T", " ")


def some(ids: Sequence[str], shown: int = 20) -> str:
    """The first of a list that may be as long as the fleet."""
    more = f" and {len(ids) - shown} more" if len(ids) > shown else ""
    return f"{', '.join(ids[:shown])}{more}"
