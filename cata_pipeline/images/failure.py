"""Why one picture could not be copied: the only error that concerns a single picture and not its tenant."""

from cata_pipeline.errors import CataError


class PictureError(CataError):
    """One picture could not be fetched or accepted; all others go on.

    `reason` is a phrase that a merchant can read and act on; it names no address and no path. `transient` says that
    an early repetition is worth it, because the fault is probably not the picture's. `host_fault` says that the host
    itself did not serve, which its other pictures would meet as well.
    """

    def __init__(self, reason: str, *, transient: bool = False, host_fault: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient or host_fault
        self.host_fault = host_fault


class PostponedError(PictureError):
    """The picture was not asked for at all, so nothing is known against it; it is due again after a short wait."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, transient=True)
