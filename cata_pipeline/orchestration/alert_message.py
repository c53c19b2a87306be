"""Builds the text of an alert: checks of the fleet first, then failed runs grouped by cause.

Pure functions: values in, text out. `alerts` finds the runs and checks and delivers the text.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cata_pipeline.foreign_text import printable

LONGEST = 3_500
"""Characters of a message; Slack cuts or splits what is longer than 4,000."""

_REASON_CHARACTERS, _NAME_CHARACTERS, _LINK_CHARACTERS, _LAST_LINE_CHARACTERS = 300, 100, 300, 100
_TENANTS, _RUNS = 10, 5
_GAP = "\n\n"
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")
"""What differs between two messages of one cause: ids, counts, times, ports."""


@dataclass(frozen=True)
class FailedRun:
    """One failed run.

    `tenants` maps each failed tenant to its reason; it is empty when the run ended before it could report them, and
    then `partitions` names those it was started for. `restarts`: Dagster will retry the run.
    """

    run_id: str
    job: str
    reason: str
    tenants: Mapping[str, str] = field(default_factory=dict)
    partitions: str = ""
    restarts: bool = False


@dataclass(frozen=True)
class CheckNews:
    """A check of the fleet that began to fail as an ERROR, or (`over`) no longer does; `words` is its description."""

    check: str
    words: str
    over: bool = False


@dataclass
class _Cause:
    """What failed in one job for one reason, in the order of the failures: the keys of dictionaries."""

    job: str
    reason: str
    restarts: bool
    tenants: dict[str, None] = field(default_factory=dict)
    runs: dict[str, None] = field(default_factory=dict)
    partitions: dict[str, None] = field(default_factory=dict)


def alert_text(runs: Sequence[FailedRun], dagster_url: str | None, checks: Sequence[CheckNews] = ()) -> str:
    """One message of at most `LONGEST` characters; `dagster_url` ends with a slash and makes run ids links."""
    parts = [f"*{_name(news.check)} {'is over' if news.over else 'fails'}*: {_escaped(news.words)}" for news in checks]
    if checks:
        link = f"<{dagster_url}assets/fleet_health?view=checks|fleet_health>"
        parts = _fitted(parts, LONGEST // 2, lambda shown: f"and {_counted(len(checks) - shown, 'more check')}.")
        parts += [f"See the checks of {link if dagster_url and len(link) <= _LINK_CHARACTERS else 'fleet_health'}."]
    if runs:
        causes = _causes(runs)
        parts.append(f"*{_counted(len(runs), 'run')} failed{_of_tenants(causes)}*")

        def others(shown: int) -> str:
            rest = causes[shown:]
            return f"and {_counted(len(rest), 'more reason')}{_of_tenants(rest)}; the runs are listed in Dagster."

        room = LONGEST - len(_GAP.join(parts)) - _LAST_LINE_CHARACTERS
        parts += _fitted([_paragraph(cause, dagster_url) for cause in causes], room, others)
    return _GAP.join(parts)


def _fitted(paragraphs: Sequence[str], room: int, others: Callable[[int], str]) -> list[str]:
    """The first paragraphs that fit into `room` characters, and a sentence about the others, given how many fit."""
    for shown, paragraph in enumerate(paragraphs):
        room -= len(paragraph) + len(_GAP)
        if room < 0:
            return [*paragraphs[:shown], others(shown)]
    return list(paragraphs)


def _causes(runs: Iterable[FailedRun]) -> list[_Cause]:
    """The causes of the failures, the one of most tenants first."""
    causes: dict[tuple[str, str, bool], _Cause] = {}

    def cause(run: FailedRun, reason: str, tenant_id: str = "") -> _Cause:
        key = run.job, _VARYING.sub("#", _without(reason, tenant_id)), run.restarts
        found = causes.setdefault(key, _Cause(run.job, reason, run.restarts))
        found.runs[run.run_id] = None
        return found

    for run in runs:
        for tenant_id, reason in run.tenants.items():
            cause(run, reason, tenant_id).tenants[tenant_id] = None
        if not run.tenants:
            cause(run, run.reason).partitions |= {run.partitions: None} if run.partitions else {}
    return sorted(causes.values(), key=lambda found: (-len(found.tenants), -len(found.runs)))


def _without(reason: str, tenant_id: str) -> str:
    # Looked for first: compiling a pattern for each of 50,000 tenants takes seconds.
    if not tenant_id or tenant_id not in reason:
        return reason
    return re.sub(rf"(?<![\w-]){re.escape(tenant_id)}(?![\w-])", "…", reason)


def _paragraph(cause: _Cause, dagster_url: str | None) -> str:
    lines = [f"*{_name(cause.job)}*{_of_tenants([cause])}: {_escaped(cause.reason)}"]
    if cause.restarts:
        lines.append("Dagster retries it; an alert follows if the last attempt fails.")
    if cause.tenants:
        lines.append(f"Tenants: {_some(map(_name, cause.tenants), _TENANTS)}")
    elif cause.partitions:
        lines.append(f"Started for: {_some(map(_name, cause.partitions), _RUNS)}")
    links = (f"<{dagster_url}runs/{run_id}|{run_id[:8]}>" if dagster_url else run_id for run_id in cause.runs)
    return "\n".join([*lines, f"Runs: {_some(links, _RUNS)}"])


def _of_tenants(causes: Iterable[_Cause]) -> str:
    tenants = {tenant_id for cause in causes for tenant_id in cause.tenants}
    return f", {_counted(len(tenants), 'tenant')}" if tenants else ""


def _some(names: Iterable[str], most: int) -> str:
    first, others = (found := list(names))[:most], len(found) - most
    return ", ".join(first) + (f" and {others} more" if others > 0 else "")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _name(text: str) -> str:
    return _escaped(text, _NAME_CHARACTERS)


def _escaped(text: str, longest: int = _REASON_CHARACTERS) -> str:
    """One line with Slack's markup escaped, of at most `longest` characters; no escape is cut in two."""
    shown = ""
    for character in printable(" ".join(text.split("\n"))):
        escape = _MARKUP.get(character, character)
        if len(shown) + len(escape) > longest:
            return f"{shown}…"
        shown += escape
    return shown
