"""Starts and stops schedules and sensors, as the switches in the UI do, and makes a past tick of a schedule due.

The daemon catches up on the last tick that a running schedule missed, so a schedule that is started "since a day ago"
ticks at once, through the daemon and the code server like every night.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.remote_origin import RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
)
from dagster._core.workspace.load import location_origins_from_yaml_paths

from benchmarks.fleet.location import defs

NIGHT_HOUR = 2
_DAY = 86_400
_MARGIN = 600


class Instigators:
    """The switches of one instance."""

    def __init__(self, instance: dg.DagsterInstance, workspace: Path) -> None:
        self._instance = instance
        [self._location] = location_origins_from_yaml_paths([str(workspace)])
        repository = defs.get_repository_def()
        self._repository = repository.name
        self._cron = {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs}

    def stop_schedules(self) -> None:
        """No schedule ticks by itself."""
        for name in self._cron:
            self._switch(self._schedule(name, InstigatorStatus.STOPPED, time.time()))

    def tick(self, schedule: str, *, since: float) -> None:
        """Let a schedule tick as it should have done at its last time after `since` (epoch seconds)."""
        self._switch(self._schedule(schedule, InstigatorStatus.RUNNING, since))

    def switch_sensor(self, sensor: str, *, cursor: str, running: bool) -> None:
        """Let a sensor tick from `cursor` on, or not at all."""
        self._switch(self._sensor(sensor, InstigatorStatus.RUNNING if running else InstigatorStatus.STOPPED, cursor))

    def ticks(self, name: str, *, after: float) -> Sequence[InstigatorTick]:
        """The finished ticks that were due later than `after`, the newest first."""
        ticks = self._instance.get_ticks(self._origin(name).get_id(), self._state_of(name).selector_id, after=after)
        return [tick for tick in ticks if tick.end_timestamp]

    def _switch(self, state: InstigatorState) -> None:
        if self._instance.get_instigator_state(state.instigator_origin_id, state.selector_id):
            self._instance.update_instigator_state(state)
        else:
            self._instance.add_instigator_state(state)

    def _origin(self, name: str) -> RemoteInstigatorOrigin:
        repository = RemoteRepositoryOrigin(code_location_origin=self._location, repository_name=self._repository)
        return RemoteInstigatorOrigin(repository_origin=repository, instigator_name=name)

    def _state_of(self, name: str) -> InstigatorState:
        if name in self._cron:
            return self._schedule(name, InstigatorStatus.STOPPED, 0.0)
        return self._sensor(name, InstigatorStatus.STOPPED, None)

    def _schedule(self, name: str, status: InstigatorStatus, since: float) -> InstigatorState:
        data = ScheduleInstigatorData(self._cron[name], since)
        return InstigatorState(self._origin(name), InstigatorType.SCHEDULE, status, data)

    def _sensor(self, name: str, status: InstigatorStatus, cursor: str | None) -> InstigatorState:
        return InstigatorState(self._origin(name), InstigatorType.SENSOR, status, SensorInstigatorData(cursor=cursor))


def past_nights() -> list[tuple[str, float]]:
    """Time zones by when it was last 02:00 there (epoch seconds), the earliest first: as many nights as zones.

    A schedule never ticks for the same moment twice, and waiting a day is out of the question.
    """
    now = time.time()
    nights = []
    for offset in range(-14, 13):
        zone = f"Etc/GMT{offset:+d}"
        today = datetime.now(ZoneInfo(zone)).replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
        moment = today.timestamp()
        nights.append((moment if moment <= now else moment - _DAY, zone))
    # One moment can belong to two zones, and the earliest would be too long ago by the time it is its turn.
    moments = {moment: zone for moment, zone in nights if moment > now - _DAY + _MARGIN}
    return [(zone, moment) for moment, zone in sorted(moments.items())]
