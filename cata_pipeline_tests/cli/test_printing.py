"""What reaches an operator's terminal."""

import pytest

from cata_pipeline.cli.printing import print_table


def test_a_merchants_escape_sequence_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("item_code", "name"), [("K\x9b2J", "Kopi \x1b[31mSusu\x07\u00a0é [bold]")])
    assert capsys.readouterr().out.splitlines()[1] == "K\\x9b2J    Kopi \\x1b[31mSusu\\x07\u00a0é [bold]"
