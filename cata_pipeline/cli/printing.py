"""How commands print: one JSON object, or tables for people."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from cata_pipeline.cli.streams import drawing_console
from cata_pipeline.foreign_text import printable


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output; what a terminal must not get stands in it as JSON's own escape."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower() in {"utf-8", "utf8"}
    click.echo(printable(json.dumps(value, indent=2, ensure_ascii=not unicode), escape=json.dumps))


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns under their names, on standard output."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        # As they are: an item code may hold what rich takes for markup.
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    drawing_console().print(table)


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
