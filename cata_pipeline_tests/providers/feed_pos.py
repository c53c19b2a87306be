"""A make-believe exporter that writes feeds as docs/feed-format.md tells it to: JSON Lines or CSV, in one piece."""

import csv
import io
import json
from collections.abc import Sequence
from typing import ClassVar

from cata_pipeline.providers.conformance.pos_server import PosServer, Sold
from cata_pipeline.providers.conformance.scripted_server import Answer, Received, answer
from cata_pipeline.providers.contract import Provider
from cata_pipeline.providers.feed import FEED

PATH = "/export/items"
COLUMNS = ("item_code", "name", "is_active", "description", "category", "image_url", "updated_at")


class FeedPos(PosServer):
    """All products in one JSON Lines file: a feed has one page."""

    provider: ClassVar[Provider] = FEED
    content_type: ClassVar[str] = "application/jsonl"
    omits_active: ClassVar[bool] = True

    def options(self) -> dict[str, object]:
        return {"source": f"{self.origin}{PATH}", "format": "jsonl"}

    def secrets(self) -> dict[str, str]:
        return {"token": "feed-token-of-kopi-4711"}

    def page_asked_for(self, received: Received) -> int | None:
        return 1 if received.path == PATH else None

    def page(self, number: int, products: Sequence[Sold], *, is_last: bool) -> Answer:
        if self.received[-1].headers.get("Authorization") != f"Bearer {self.secrets()['token']}":
            return answer({"message": "who are you"}, status=401)
        return answer(self.written([sold for page in self.pages for sold in page]), content_type=self.content_type)

    def other(self, received: Received) -> Answer:
        return answer({"message": "nothing here"}, status=404)

    def written(self, products: Sequence[Sold]) -> str:
        """The feed's text."""
        return json_lines([row_of(sold) for sold in products])


class CsvFeedPos(FeedPos):
    """The same as CSV, which knows only texts."""

    content_type: ClassVar[str] = "text/csv"

    def options(self) -> dict[str, object]:
        return {"source": f"{self.origin}{PATH}", "format": "csv"}

    def written(self, products: Sequence[Sold]) -> str:
        return csv_text(COLUMNS, [[_cell(row_of(sold).get(name)) for name in COLUMNS] for sold in products])


def json_lines(rows: Sequence[object]) -> str:
    """These rows and the end line."""
    return "".join(f"{json.dumps(row)}\n" for row in [*rows, {"end": True, "items": len(rows)}])


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A header, these rows and the end line."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([columns, *rows, ["#end", str(len(rows))]])
    return text.getvalue()


def row_of(sold: Sold) -> dict[str, object]:
    """A product as an exporter would write it."""
    row = {
        "item_code": sold.code,
        "name": sold.name,
        "is_active": sold.active,
        "description": sold.description,
        "category": sold.category,
        "image_url": sold.image,
        "updated_at": sold.updated_at,
    }
    return {**{key: value for key, value in row.items() if value is not None}, **sold.more}


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
