"""Which checks of the fleet somebody is to be called for: once when one begins to fail loudly, once when that is over.

Follows Dagster's ASSET_CHECK_EVALUATION events of `fleet_health` by storage id. The decision is the pure function
`folded`. When a check fails, and how loudly, is `fleet_checks`; how the news reach people is `alerts`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from cata_pipeline.orchestration.alert_message import CheckNews
from cata_pipeline.orchestration.fleet_checks import FLEET

CALM_SECONDS = 2 * 3600.0
"""How long a check must only have warned until its call is over: at the border it would call twice an hour."""


@dataclass(frozen=True)
class Evaluation:
    """What a check said at a time (seconds since the epoch); `loud` where it failed as an ERROR."""

    check: str
    time: float
    passed: bool
    loud: bool
    words: str


@dataclass(frozen=True)
class ChecksRead:
    """The checks after the event `last`: what is new of them, and those that call, as `folded` returns them."""

    last: int
    called: Mapping[str, float]
    news: Sequence[CheckNews] = ()


def folded(
    called: Mapping[str, float], evaluations: Iterable[Evaluation]
) -> tuple[dict[str, float], tuple[CheckNews, ...]]:
    """The checks that call after these evaluations (each with the time it was last loud), and the difference to before.

    A check calls from its first loud failure until it passes, or has only warned for `CALM_SECONDS`; a clock that
    jumped back ends that time too. What began and ended among the evaluations is no news.
    """
    after = dict(called)
    newest: dict[str, Evaluation] = {}
    loudest: dict[str, Evaluation] = {}
    for each in evaluations:
        newest[each.check] = each
        if each.loud:
            after[each.check], loudest[each.check] = each.time, each
        elif each.check in after and (each.passed or not 0 <= each.time - after[each.check] < CALM_SECONDS):
            del after[each.check]
    begun = [CheckNews(name, loudest[name].words) for name in newest if name in after and name not in called]
    over = [CheckNews(name, newest[name].words, over=True) for name in newest if name in called and name not in after]
    return after, (*begun, *over)


def read_checks(
    instance: dg.DagsterInstance,
    after: int | None,
    called: Mapping[str, float],
    trusted: Callable[[float], bool],
    page: int,
) -> ChecksRead:
    """The next `page` evaluations behind the event `after`, up to the first whose time is not `trusted`.

    Without such an event it begins with what is evaluated from now on: half an hour later a check that fails says so.
    """
    storage = instance.event_log_storage
    if after is None:
        return ChecksRead(storage.get_maximum_record_id() or 0, called)
    # The only call that finds them of all runs in the order of their ids; one query by an index.
    events = storage.get_logs_for_all_runs_by_log_id(after, dg.DagsterEventType.ASSET_CHECK_EVALUATION, page)
    last, evaluations = after, list[Evaluation]()
    for storage_id, entry in events.items():
        if not trusted(entry.timestamp):
            break
        last = storage_id
        said = entry.get_dagster_event().asset_check_evaluation_data
        if said.asset_key == FLEET:
            loud = not said.passed and said.severity is dg.AssetCheckSeverity.ERROR
            words = said.description or "It gives no reason."
            evaluations.append(Evaluation(said.check_name, entry.timestamp, said.passed, loud, words))
    return ChecksRead(last, *folded(called, evaluations))
