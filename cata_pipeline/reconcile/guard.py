"""Refuses a plan that no sane provider would cause, before anything is written.

A guard compares one count of the plan with a limit that grows with the tenant. Add a guard as one more row in
`_findings`. An operator's allowance is a ceiling for one run: above it the guard still refuses.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cata_pipeline.errors import GuardRefusedError, UsageError
from cata_pipeline.foreign_text import one_line

GUARDS = ("hide", "hide_children", "show", "show_children", "rename", "unpicture", "recategorize", "unknown", "reject")
"""The guards that can be allowed for one run. `empty` cannot: its allowance would import nothing."""

_UNKNOWN_FROM_ITEMS = 20
_UNKNOWN_SHARE = 0.2


@dataclass(frozen=True)
class PlanCounts:
    """What a plan would do to one tenant: counts of `items` rows unless said otherwise.

    `received` and `rejected` count the provider's rows; `known` are codes of the snapshot that the tenant has. `shows`
    are hidden rows that become visible, new rows not among them. Children are modifiers, their options and bundle
    components, all together.
    """

    received: int
    rejected: int
    staged: int
    tenant_items: int
    tenant_visible: int
    known: int
    stale: int
    inserts: int
    updates: int
    hides: int
    renames: int
    unpictures: int
    recategorizes: int
    visible_children: int = 0
    child_hides: int = 0
    shows: int = 0
    child_shows: int = 0


@dataclass(frozen=True)
class Finding:
    """One guard's view of a plan: `count` against `limit`, and the ceiling an operator allowed, if any."""

    guard: str
    count: int
    limit: int
    meaning: str
    allowed: int | None

    @property
    def refuses(self) -> bool:
        """Whether the plan may not be applied."""
        return self.count > max(self.limit, self.allowed or 0)

    @property
    def used_allowance(self) -> bool:
        """Whether only the operator's ceiling lets the plan through."""
        return not self.refuses and self.count > self.limit


def check_allowances(allow: Mapping[str, int]) -> None:
    """Raise `UsageError` for a guard that does not exist or a ceiling that is no positive number."""
    problems = [
        "guard empty cannot be allowed: an empty snapshot never replaces a menu"
        if name == "empty"
        else f"{name} is no guard; the guards are {', '.join(GUARDS)}"
        for name in allow
        if name not in GUARDS
    ]
    problems += [f"the ceiling of {name} is {count}; expected 1 or more" for name, count in allow.items() if count < 1]
    if problems:
        raise UsageError("; ".join(problems) + ".")


def judge(counts: PlanCounts, allow: Mapping[str, int], reasons: Iterable[str] = ()) -> tuple[Finding, ...]:
    """Return what every guard finds in a plan, refusals and passes alike; `reasons` are those of the rejections."""
    frequent = "".join(f", most frequent reason: {one_line(reason)}" for reason, _ in Counter(reasons).most_common(1))
    return tuple(_findings(counts, allow, frequent))


def enforce(findings: tuple[Finding, ...], *, because: str = "") -> None:
    """Raise `GuardRefusedError` naming every guard that refuses, its counts, and how to allow it for one run.

    `because` adds what led to the counts.
    """
    refusals = [finding for finding in findings if finding.refuses]
    if not refusals:
        return
    reasons = "; ".join([*(f"{f.guard}: {f.meaning} (limit {f.limit})" for f in refusals), *filter(None, [because])])
    allowing = [f"--allow {f.guard}={f.count}" for f in refusals if f.guard in GUARDS]
    if len(allowing) < len(refusals):
        remedy = (
            "An empty snapshot is never applied, whatever is allowed: correct what is rejected, or check the provider's"
            " account, then sync again."
        )
    else:
        pairs = ", ".join(f"{f.guard}: {f.count}" for f in refusals)
        remedy = f"If this is right, allow this one run with {' '.join(allowing)} (run config: allow: {{{pairs}}})."
    raise GuardRefusedError(f"Nothing was written, because the plan is implausible: {reasons}. {remedy}")


def _findings(counts: PlanCounts, allow: Mapping[str, int], frequent_reason: str) -> Iterator[Finding]:
    def finding(guard: str, count: int, limit: float, meaning: str) -> Finding:
        return Finding(guard, count, int(limit), meaning, allow.get(guard))

    if counts.rejected and not counts.staged:
        # Also on a first sync, and however few: it would succeed with 0 items.
        meaning = f"none of the {counts.received} rows received can be an item{frequent_reason}"
        yield finding("empty", counts.rejected, 0, meaning)
        return
    meaning = f"{counts.rejected} of {counts.received} rows were rejected{frequent_reason}"
    yield finding("reject", counts.rejected, max(20, counts.received * 0.05), meaning)
    if not counts.tenant_items:
        return  # a first sync has no baseline
    items, visible = counts.tenant_items, counts.tenant_visible
    if not counts.staged:
        meaning = f"the snapshot is empty while the tenant has {visible} visible items"
        yield finding("empty", visible, 0, meaning)
        return
    many = max(50, items * 0.5)
    # Both directions are judged by what is visible now: that is the menu which guests would find changed.
    few = max(20, visible * 0.1)
    yield finding("hide", counts.hides, few, f"it would hide {counts.hides} of {visible} items")
    shows, hidden = counts.shows, items - visible
    yield finding("show", shows, few, f"it would show {shows} of {hidden} hidden items beside {visible} visible ones")
    children, child_hides, child_shows = counts.visible_children, counts.child_hides, counts.child_shows
    few = max(20, children * 0.1)
    meaning = f"it would hide {child_hides} of {children} modifiers and components"
    yield finding("hide_children", child_hides, few, meaning)
    meaning = f"it would show {child_shows} hidden modifiers and components beside {children} visible ones"
    yield finding("show_children", child_shows, few, meaning)
    yield finding("rename", counts.renames, many, f"the provider changes {counts.renames} of {items} names")
    yield finding("unpicture", counts.unpictures, many, f"it would drop {counts.unpictures} of {items} picture URLs")
    yield finding(
        "recategorize", counts.recategorizes, many, f"it changes {counts.recategorizes} of {items} categories"
    )
    if items >= _UNKNOWN_FROM_ITEMS and counts.known < counts.staged * _UNKNOWN_SHARE:
        unknown = counts.staged - counts.known
        meaning = f"only {counts.known} of {counts.staged} item codes are known here; another merchant's catalog?"
        yield finding("unknown", unknown, 0, meaning)
