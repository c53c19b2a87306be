"""Why one image could not be copied: the only errors that concern a single image and not its tenant."""

from enum import Enum, auto

from cata_pipeline.errors import CataError


class HostFault(Enum):
    """What a failure proves about the host, beyond the image that met it."""

    UNREACHABLE = auto()
    """No connection could be made, which every tenant would meet."""

    UNSERVED = auto()
    """No proper response, which may be a matter of one tenant's URLs."""


class PictureError(CataError):
    """One image could not be fetched or accepted; all others go on.

    `reason` is a phrase that a merchant can read and act on; it names no address and no path. `transient` marks a
    failure that an early retry may overcome, because the fault is probably not the image's. `host_fault` marks one
    that other images of the same host would meet as well.
    """

    def __init__(self, reason: str, *, transient: bool = False, host_fault: HostFault | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient or host_fault is not None
        self.host_fault = host_fault


class PostponedError(PictureError):
    """The image was not requested at all, so nothing is known against it; it is due again after a short wait."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, transient=True)
