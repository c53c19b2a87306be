"""The words of an alert: one message for all runs that failed since the last, grouped by what they failed of.

Checks of the fleet that began to call, or no longer do, come first in it. Pure values in, text out. How failed runs and
checks are found, and how the text reaches people, is `alerts`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from cata_pipeline.foreign_text import printable

LONGEST = 3_500
"""Characters of a message; Slack cuts or splits what is longer than 4,000."""

_REASON_CHARACTERS = 300
_SHOWN_TENANTS = 10
_SHOWN_RUNS = 5
_SHOWN_ID = 8
_NAME_CHARACTERS = 100
"""Of a job, a check, a tenant or a partition: other code of the instance may name them as it likes."""
_CHECKS_CHARACTERS = LONGEST // 2
_ADVICE_CHARACTERS = 100
_LINK_CHARACTERS = 300
_GAP = "\n\n"
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")
"""What differs between two messages of one cause: ids, counts, times, ports."""


@dataclass(frozen=True)
class FailedRun:
    """One failed run.

    `tenants` says why each tenant failed; it is empty when the run ended before it could say, and then `partitions`
    names those it was started for. `restarts`: Dagster is going to start it again by itself.
    """

    run_id: str
    job: str
    reason: str
    tenants: Mapping[str, str] = field(default_factory=dict)
    partitions: str = ""
    restarts: bool = False


@dataclass(frozen=True)
class CheckNews:
    """A check of the fleet that began to fail loudly, or (`over`) no longer does; `words` are what it says itself."""

    check: str
    words: str
    over: bool = False


@dataclass
class _Cause:
    """Everything that failed in one job for one reason, in the order in which it failed."""

    job: str
    reason: str
    tenants: dict[str, None] = field(default_factory=dict)
    runs: dict[str, None] = field(default_factory=dict)
    partitions: dict[str, None] = field(default_factory=dict)
    restarts: bool = False


def alert_text(runs: Sequence[FailedRun], dagster_url: str | None, checks: Sequence[CheckNews] = ()) -> str:
    """One message of at most `LONGEST` characters for all these checks and runs.

    `dagster_url` ends with a slash and makes each run's id a link; without one the ids stand in full.
    """
    parts: list[str] = []
    room = _CHECKS_CHARACTERS
    for number, news in enumerate(checks):
        parts.append(_check(news))
        room -= len(parts[-1]) + len(_GAP)
        if room < 0:
            parts[-1] = f"and {_counted(len(checks) - number, 'more check')}."
            break
    if checks:
        parts.append(_fleet(dagster_url))
    if runs:
        parts.append(_failed(runs, dagster_url, LONGEST - sum(len(text) + len(_GAP) for text in parts)))
    return _GAP.join(parts)


def _check(news: CheckNews) -> str:
    state = "is over" if news.over else "fails"
    return f"*{_name(news.check)} {state}*: {_escaped(news.words)}"


def _fleet(dagster_url: str | None) -> str:
    link = f"<{dagster_url}assets/fleet_health?view=checks|fleet_health>"
    return f"See the checks of {link if dagster_url and len(link) <= _LINK_CHARACTERS else 'fleet_health'}."


def _failed(runs: Sequence[FailedRun], dagster_url: str | None, longest: int) -> str:
    causes = _causes(runs)
    text = f"*{_counted(len(runs), 'run')} failed{_of_tenants(causes)}*"
    for number, cause in enumerate(causes):
        paragraph = f"{_GAP}{_paragraph(cause, dagster_url)}"
        if len(text) + len(paragraph) > longest - _ADVICE_CHARACTERS:
            rest = causes[number:]
            more = _counted(len(rest), "more reason")
            return f"{text}{_GAP}and {more}{_of_tenants(rest)}; the runs are listed in Dagster."
        text += paragraph
    return text


def _causes(runs: Iterable[FailedRun]) -> list[_Cause]:
    """What the runs failed of, the most tenants first."""
    causes: dict[tuple[str, str, bool], _Cause] = {}

    def cause(run: FailedRun, reason: str, tenant_id: str = "") -> _Cause:
        key = run.job, _VARYING.sub("#", _without(reason, tenant_id)), run.restarts
        found = causes.setdefault(key, _Cause(run.job, reason, restarts=run.restarts))
        found.runs[run.run_id] = None
        return found

    for run in runs:
        for tenant_id, reason in run.tenants.items():
            cause(run, reason, tenant_id).tenants[tenant_id] = None
        if not run.tenants:
            cause(run, run.reason).partitions[run.partitions] = None
    return sorted(causes.values(), key=lambda found: (-len(found.tenants), -len(found.runs)))


def _without(reason: str, tenant_id: str) -> str:
    # Looked for first: compiling a pattern for each of 50,000 tenants takes seconds.
    if not tenant_id or tenant_id not in reason:
        return reason
    return re.sub(rf"(?<![\w-]){re.escape(tenant_id)}(?![\w-])", "…", reason)


def _of_tenants(causes: Iterable[_Cause]) -> str:
    tenants = {tenant_id for cause in causes for tenant_id in cause.tenants}
    return f", {_counted(len(tenants), 'tenant')}" if tenants else ""


def _paragraph(cause: _Cause, dagster_url: str | None) -> str:
    tenants = f", {_counted(len(cause.tenants), 'tenant')}" if cause.tenants else ""
    lines = [f"*{_name(cause.job)}*{tenants}: {_escaped(cause.reason)}"]
    if cause.restarts:
        lines.append("It is going to be started again by itself; an alert follows if it fails for good.")
    if cause.tenants:
        lines.append(f"Tenants: {_some([_name(name) for name in cause.tenants], _SHOWN_TENANTS)}")
    elif started_for := [_name(name) for name in cause.partitions if name]:
        lines.append(f"Started for: {_some(started_for, _SHOWN_RUNS)}")
    lines.append(f"Runs: {_some([_run(run_id, dagster_url) for run_id in cause.runs], _SHOWN_RUNS)}")
    return "\n".join(lines)


def _run(run_id: str, dagster_url: str | None) -> str:
    return f"<{dagster_url}runs/{run_id}|{run_id[:_SHOWN_ID]}>" if dagster_url else run_id


def _some(names: Sequence[str], most: int) -> str:
    shown = ", ".join(islice(names, most))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _name(text: str) -> str:
    return _escaped(text, _NAME_CHARACTERS)


def _escaped(text: str, longest: int = _REASON_CHARACTERS) -> str:
    """Return one line as Slack asks for it, of at most `longest` characters and an ellipsis.

    A reason that holds `<!channel>` must not call everybody. What is cut is cut after escaping, which makes five
    characters of one, and never within an escape.
    """
    shown = ""
    for character in printable(" ".join(text.split("\n"))):
        escape = _MARKUP.get(character, character)
        if len(shown) + len(escape) > longest:
            return f"{shown}…"
        shown += escape
    return shown
