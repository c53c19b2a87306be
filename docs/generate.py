"""Writes the parts of the documentation that are made from code; `make docs` runs it."""

from pathlib import Path

from cata_pipeline.reconcile.policy import ownership_markdown

DOCUMENT = Path(__file__).parent / "field-ownership.md"
MARK = "<!-- generated from cata_pipeline/reconcile/policy.py by `make docs`; a test keeps the two equal -->\n\n"

if __name__ == "__main__":
    introduction, _, _ = DOCUMENT.read_text().partition(MARK)
    DOCUMENT.write_text(introduction + MARK + ownership_markdown())
