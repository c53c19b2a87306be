"""Suspends image hosts that do not serve, so that a dead host costs seconds: a circuit breaker for each origin.

An origin (scheme, host, port) is suspended for all tenants of a process only on evidence that one tenant's URLs cannot
produce: connections that cannot be made, or responses that fail for several tenants. Anything else that a host does
wrong suspends it for the tenant concerned. Which failure is which kind of evidence is decided in `fetch.py`; when a
postponed image is due again, in `due.py`. Nothing here waits or connects.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cata_pipeline.images.failure import HostFault, PostponedError
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.picture_url import Origin

_WITNESSES = 2
"""So many tenants have to meet failing responses in a row before an origin is suspended for all."""


@dataclass(slots=True)
class _Circuit:
    """An origin's failures in a row, and until when (by the clock) it is suspended because of them."""

    failures: int = 0
    suspended_until: float = 0.0
    is_open: bool = False


@dataclass(slots=True)
class _SharedCircuit(_Circuit):
    """The same for all tenants: `failures` are those to connect; `witnesses` are tenants that suspended it."""

    witnesses: set[str] = field(default_factory=set)


class HostBreakers:
    """What all tenants of a process share about origins; safe to share between threads.

    Origins that respond are not kept, and of the others at most `suspended_origins`, the newest: a tenant may name any
    number of dead hosts. `clock` returns seconds and never goes back.
    """

    def __init__(self, limits: CopyLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or CopyLimits()
        self.clock = clock
        self.lock = threading.Lock()
        self.circuits: dict[Origin, _SharedCircuit] = {}

    def of_tenant(self, tenant_id: str) -> "TenantBreakers":
        """Return the breakers for one copy of a tenant's images."""
        return TenantBreakers(self, tenant_id)

    def circuit(self, origin: Origin) -> _SharedCircuit:
        """Return an origin's circuit, a new one if there is none; the caller holds `lock`."""
        if origin not in self.circuits and len(self.circuits) >= self.limits.suspended_origins:
            del self.circuits[next(iter(self.circuits))]
        return self.circuits.setdefault(origin, _SharedCircuit())


class TenantBreakers:
    """One tenant's view of the origins: its own circuits, and the shared ones.

    After `host_failures` in a row an origin is suspended for `host_rest_seconds`: `admit` raises `PostponedError` at
    once. Then one image at a time is let through, one in `host_rest_seconds`, until the origin responds.
    """

    def __init__(self, shared: HostBreakers, tenant_id: str) -> None:
        self._shared = shared
        self._tenant_id = tenant_id
        self._limits = shared.limits
        self._own: dict[Origin, _Circuit] = {}

    def admit(self, origin: Origin) -> None:
        """Return if `origin` may be requested now; the outcome, if there is one, goes to `responded` or `failed`.

        Raises `PostponedError` while it is suspended. An outcome that is never reported (a cancelled copy, or a host
        that had no time left to respond) counts for nothing, and at most prolongs a suspension once.
        """
        with self._shared.lock:
            found = (self._own.get(origin), self._shared.circuits.get(origin))
            suspending = [circuit for circuit in found if circuit is not None and circuit.is_open]
            now = self._shared.clock()
            # All are judged before one is changed: a tenant that is suspended itself must not use up the others' turn.
            if any(now < circuit.suspended_until for circuit in suspending):
                times = max(self._limits.host_failures, *(circuit.failures for circuit in suspending))
                raise PostponedError(
                    f"the image's host did not respond properly {times} times in a row, so it is requested again later"
                )
            for circuit in suspending:
                circuit.suspended_until = now + self._limits.host_rest_seconds

    def responded(self, origin: Origin) -> None:
        """The origin sent a response, be it a refusal."""
        with self._shared.lock:
            self._own.pop(origin, None)
            self._shared.circuits.pop(origin, None)

    def failed(self, origin: Origin, fault: HostFault) -> None:
        """The origin could not be connected to, or did not respond properly."""
        with self._shared.lock:
            own = self._own.setdefault(origin, _Circuit())
            self._count(own)
            if fault is HostFault.UNREACHABLE:
                self._count(self._shared.circuit(origin))
            elif own.is_open:
                shared = self._shared.circuit(origin)
                shared.witnesses.add(self._tenant_id)
                if len(shared.witnesses) >= _WITNESSES:
                    self._open(shared)

    def _count(self, circuit: _Circuit) -> None:
        circuit.failures += 1
        if circuit.failures >= self._limits.host_failures:
            self._open(circuit)

    def _open(self, circuit: _Circuit) -> None:
        circuit.is_open = True
        circuit.suspended_until = self._shared.clock() + self._limits.host_rest_seconds
