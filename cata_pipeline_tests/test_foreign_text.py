"""What merchants and databases write reaches people as text, whatever it holds: it steers no terminal and no Slack."""

import pytest

from cata_pipeline.errors import TenantError
from cata_pipeline.foreign_text import printable
from cata_pipeline.orchestration.alert_message import LONGEST, CheckNews, FailedRun, alert_text

HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\n2026-11-27 ERROR forged <http://evil.example|click> `![x](http://evil.example/x)` \u202e"
)


def test_an_error_shows_no_control_character_wherever_it_comes_from() -> None:
    assert str(TenantError(HOSTILE)) == printable(HOSTILE)
    assert "\x1b" not in str(TenantError(HOSTILE))


def test_an_alert_holds_one_line_of_text_for_each_reason() -> None:
    text = alert_text(
        [FailedRun("1", HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, HOSTILE)], None, [CheckNews(HOSTILE, HOSTILE)]
    )
    assert "\x1b" not in text
    assert "<http" not in text
    assert "\n2026" not in text


@pytest.mark.parametrize("word", ["&" * 400, "<" * 400, "x" * 5_000, "\x1b" * 400])
@pytest.mark.parametrize("checks", [0, 5, 200])
@pytest.mark.parametrize("url", [None, "https://dagster.example/", f"https://{'d' * 3_000}/"])
def test_an_alert_keeps_its_length_whatever_the_causes(word: str, checks: int, url: str | None) -> None:
    runs = [FailedRun(f"{n:036}", f"{word}{n}", f"{chr(97 + n)}{word}", {f"{word}{n}": word}) for n in range(26)]
    news = [CheckNews(f"{word}{n}", word) for n in range(checks)]
    text = alert_text(runs, url, news)
    assert len(text) <= LONGEST
    assert "26 runs failed" in text
