"""The words of an alert: one message for all runs that failed since the last, grouped by what they failed of.

Pure values in, text out. How failed runs are found, and how the text reaches people, is `alerts`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

LONGEST = 3_500
"""Characters of a message; Slack cuts or splits what is longer than 4,000."""

_REASON_CHARACTERS = 300
_SHOWN_TENANTS = 10
_SHOWN_RUNS = 5
_SHOWN_ID = 8
_ADVICE_CHARACTERS = 100
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


@dataclass
class _Cause:
    """Everything that failed in one job for one reason, in the order in which it failed."""

    job: str
    reason: str
    tenants: dict[str, None] = field(default_factory=dict)
    runs: dict[str, None] = field(default_factory=dict)
    partitions: dict[str, None] = field(default_factory=dict)
    restarts: bool = False


def alert_text(runs: Sequence[FailedRun], dagster_url: str | None) -> str:
    """One message of at most `LONGEST` characters for all these runs.

    `dagster_url` ends with a slash and makes each run's id a link; without one the ids stand in full.
    """
    causes = _causes(runs)
    text = f"*{_counted(len(runs), 'run')} failed{_of_tenants(causes)}*"
    for number, cause in enumerate(causes):
        paragraph = f"\n\n{_paragraph(cause, dagster_url)}"
        if len(text) + len(paragraph) > LONGEST - _ADVICE_CHARACTERS:
            rest = causes[number:]
            more = _counted(len(rest), "more reason")
            return f"{text}\n\nand {more}{_of_tenants(rest)}; the runs are listed in Dagster."
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
    reason = cause.reason if len(cause.reason) <= _REASON_CHARACTERS else f"{cause.reason[:_REASON_CHARACTERS]}…"
    lines = [f"*{_escaped(cause.job)}*{tenants}: {_escaped(reason)}"]
    if cause.restarts:
        lines.append("It is going to be started again by itself; whether that helped is told if it fails for good.")
    if cause.tenants:
        lines.append(f"Tenants: {_some([_escaped(name) for name in cause.tenants], _SHOWN_TENANTS)}")
    elif started_for := [_escaped(name) for name in cause.partitions if name]:
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


def _escaped(text: str) -> str:
    """What Slack asks for; a reason that holds `<!channel>` must not call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
