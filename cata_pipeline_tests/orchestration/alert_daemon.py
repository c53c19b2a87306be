"""What the tests of alerts share: a daemon's ticks without a daemon, and runs that really fail."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import dagster as dg

from cata_pipeline.orchestration.alerts import report_failures

HOOK = "/hook-s3cret"
LATER = time.time() + 86_400


@dataclass
class Daemon:
    """Ticks the sensor's decision as the daemon does: what a tick returns is kept, what a killed one did is not."""

    instance: dg.DagsterInstance
    send: Callable[[str], str | None] | None = None
    cursor: str | None = None
    told: list[str] = field(default_factory=list)

    def tick(self, *, now: float = LATER, page: int = 500) -> str:
        result = report_failures(
            self.instance,
            self.cursor,
            self.send or self._take,
            None,
            log=logging.getLogger("tick"),
            now=now,
            page=page,
        )
        self.cursor = result.cursor
        assert result.skip_reason
        return result.skip_reason.skip_message or ""

    def _take(self, text: str) -> None:
        self.told.append(text)


def fail(
    instance: dg.DagsterInstance, tenants: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
) -> str:
    """A run that really fails, as a batch of tenants does or by an error of its own; returns its id."""

    @dg.op
    def refuse() -> None:
        if tenants is None:
            raise ZeroDivisionError("the op itself broke")
        raise dg.Failure("tenants failed", metadata={"failed": dg.MetadataValue.json(dict(tenants))})

    @dg.job
    def sync_tenants() -> None:
        refuse()

    return sync_tenants.execute_in_process(instance=instance, raise_on_error=False, tags=dict(tags or {})).run_id
