"""Reads a feed that is a file: which file that may be, and whether it stood still.

Everything about paths and files belongs here. Whoever may write into the folder for feeds must not be able to have
another file of this machine read, nor keep a fetch waiting; what the bytes mean is `feed_bytes`.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from cata_pipeline.errors import ProviderError, SettingsError
from cata_pipeline.providers.feed_bytes import BrokenFeedError
from cata_pipeline.settings import feed_folder

_CHUNK = 2**18
# Without blocking: a named pipe that nobody writes to would hold the fetch for ever.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def chunks_of_file(path: PurePosixPath) -> Iterator[bytes]:
    """What a file in the folder for feeds holds.

    Raises `ProviderError` for one that may not be read, `BrokenFeedError` for one that is no file or changes meanwhile,
    `OSError` for one that cannot be read.
    """
    descriptor = open_inside(*_found(path))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BrokenFeedError("is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        while chunk := file.read(_CHUNK):
            yield chunk
        after = os.fstat(descriptor)
    # Half of the old catalog and half of the new one can have as many items as either.
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise BrokenFeedError("was changed while it was read; write it under another name, then rename it")


def open_inside(folder: Path, parts: Sequence[str]) -> int:
    """A descriptor of what these parts lead to, one after the other and never through a link; raises `OSError`.

    A link could be put in after the path was judged.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        outer = descriptor
        try:
            descriptor = os.open(part, _FLAGS, dir_fd=outer)
        finally:
            os.close(outer)
    return descriptor


def _found(path: PurePosixPath) -> tuple[Path, tuple[str, ...]]:
    """The folder for feeds, and where in it the file really is; raises `ProviderError` where it is not inside."""
    try:
        folder = feed_folder()
    except SettingsError as error:
        raise ProviderError(f"The feed {path} cannot be read: {error}") from None
    if folder is None:
        raise ProviderError(
            f"The feed {path} is a file, and no folder for feeds is named here. Set CATA_FEED_FOLDER, or use a URL."
        )
    found = Path(os.path.realpath(folder / path, strict=True))
    if not found.is_relative_to(folder):
        raise ProviderError(
            f"The feed {path} leads out of the folder that CATA_FEED_FOLDER names, so it was not read."
            " Put the file itself there, not a link."
        )
    return folder, found.relative_to(folder).parts
