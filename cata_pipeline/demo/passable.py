"""Copies and folders that root's stand-in can reach where the state folder or the checkout is closed to other users.

PostgreSQL does not run as root, so another user runs it there. That user needs search permission on every folder above
the programs and the data; `/root`, for example, grants none. The mode of such a folder is its owner's decision and is
never changed: programs are copied, and data is kept, below `/var/lib/cata-pipeline` instead.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from cata_pipeline.demo.detached import Account, EmbeddedServerError

_ROOM = Path("/var/lib/cata-pipeline")


def passable_package(package: Path, version: str) -> Path:
    """Return the folder of an installed package, or a copy of it where other users cannot reach it.

    The libraries that a wheel brings lie beside its package, and are copied as well. `version` names the copy.
    """
    if not _is_closed(package):
        return package
    copy = _room() / f"{package.name}-{version}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=_ROOM))
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, fresh / folder.name)
        fresh.chmod(0o711)
        try:
            fresh.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return copy / package.name


def passable_data(folder: Path, account: Account) -> Path:
    """Return `folder`, or the folder that takes its place, to which it then is a link.

    Removing the link resets the data, as removing the folder would.
    """
    if not _is_closed(folder):
        return folder
    home = _room() / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    if not folder.is_symlink():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700)
        os.chown(home, account.uid, account.gid)
        folder.symlink_to(home / folder.name)
    return home / folder.name


def _is_closed(path: Path) -> bool:
    """Whether other users may not pass through some folder above `path`."""
    return any(not folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)


def _room() -> Path:
    try:
        _ROOM.mkdir(mode=0o711, parents=True, exist_ok=True)
        if _ROOM.stat().st_uid != os.geteuid():
            raise PermissionError(f"{_ROOM} belongs to another user")
    except OSError as error:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and the user that runs it here reaches neither the checkout nor {_ROOM}"
            f" ({error}). Run this as an ordinary user, or move the checkout to a folder that other users may pass."
        ) from error
    return _ROOM
