"""Server processes that outlive whoever started them: found again, launched, awaited, ended.

A server is recognised by its command line (the program and the folder it serves) and its user, so there is no pid
file of ours that could go stale. Add here what is true of any such process; what one server needs (arguments, data
folder, how it answers) belongs to its own module.
"""

import fcntl
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from cata_pipeline.errors import CataError

_STOP_SECONDS = 20.0
_PAUSE_SECONDS = 0.02
_TRIES = 5
_LOG_LINES = 8
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
# The shell leaves at once, so the server belongs to init: nobody has to reap it, and it is nobody's open child.
_LAUNCH = '"$@" </dev/null >&2 & echo $!'


class EmbeddedServerError(CataError):
    """An embedded server did not start or stop; the message holds the end of its log."""


@dataclass(frozen=True)
class Account:
    """The operating system user that a server runs as; `switch` when it is not the user of this process."""

    uid: int
    gid: int
    switch: bool


def own_account() -> Account:
    """The user of this process."""
    return Account(os.geteuid(), os.getegid(), switch=False)


def unprivileged_account(name: str) -> Account:
    """The user of this process or, where that is root, the user `name`, created when there is none.

    Raises `EmbeddedServerError` when it cannot be created.
    """
    if os.geteuid() != 0:
        return own_account()
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        entry = _created_user(name)
    return Account(entry.pw_uid, entry.pw_gid, switch=True)


def _created_user(name: str) -> pwd.struct_passwd:
    try:
        # One process at a time: of two that create it together, one may go on with an id that is gone afterwards.
        with Path("/etc/passwd").open("rb") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
            if name not in {entry.pw_name for entry in pwd.getpwall()}:
                subprocess.run(
                    ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", name],  # noqa: S607 from root's own PATH
                    check=False,
                    capture_output=True,
                )
            return pwd.getpwnam(name)
    except (OSError, KeyError):
        raise EmbeddedServerError(
            f"PostgreSQL refuses to run as root, and the user {name} could not be created with useradd."
            f" Create it, or run as an ordinary user."
        ) from None


@dataclass(frozen=True)
class Program:
    """One server: what runs, which folder it serves, where its output goes, and as whom it runs.

    `folder` has to be among the arguments of every launch; it tells this server from others of its kind. `patience`
    is how many seconds it may take to answer, crash recovery on a busy machine included.
    """

    executable: Path
    folder: Path
    log: Path
    account: Account
    patience: float = 60.0

    def running(self) -> psutil.Process | None:
        """The process that serves the folder now, whoever started it."""
        found = {process.pid: process for process in psutil.process_iter() if self._is_this(process)}
        # A child that was forked a moment ago still shows its parent's command line.
        return next((process for process in found.values() if _parent(process) not in found), None)

    def ensure(self, prepare: Callable[[], Sequence[str]], answers: Callable[[psutil.Process], bool]) -> psutil.Process:
        """The running process, once it answers; a leftover that does not answer is replaced.

        `prepare` is called before each try and returns the arguments. A process that ends early is tried again: its
        port may have been taken, or children of a killed predecessor may still hold the shared memory. Raises
        `EmbeddedServerError` when no try succeeds.
        """
        process = self.running()
        for _ in range(_TRIES):
            if process is None:
                process = self._launch(prepare())
            if process is not None:
                if self._await(process, answers):
                    return process
                end(process, signal.SIGTERM)
            process = None
            time.sleep(_PAUSE_SECONDS * 10)
        raise EmbeddedServerError(f"{self.executable.name} did not start. The end of {self.log}:\n{self.log_end()}")

    def run(self, executable: Path, arguments: Sequence[str]) -> None:
        """Run a command of the server's kit to its end, as the server's user, its output in the server's log."""
        with self.log.open("ab") as log:
            done = subprocess.run(
                [str(executable), *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent.parent,
                env=_ENVIRONMENT,
                user=self.account.uid if self.account.switch else None,
                group=self.account.gid if self.account.switch else None,
                extra_groups=[] if self.account.switch else None,
            )
        if done.returncode:
            raise EmbeddedServerError(f"{executable.name} failed. The end of {self.log}:\n{self.log_end()}")

    def log_end(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])

    def _launch(self, arguments: Sequence[str]) -> psutil.Process | None:
        """The new process, or None when it ended at once."""
        with self.log.open("ab") as log:
            shell = subprocess.run(
                ["/bin/sh", "-c", _LAUNCH, "sh", str(self.executable), *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,
                env=_ENVIRONMENT,
                start_new_session=True,  # Ctrl-C in the terminal must not reach the server before our own stop does
                user=self.account.uid if self.account.switch else None,
                group=self.account.gid if self.account.switch else None,
                extra_groups=[] if self.account.switch else None,
            )
        pid = int(shell.stdout)
        try:
            return psutil.Process(pid)
        except psutil.NoSuchProcess:
            return None

    def _await(self, process: psutil.Process, answers: Callable[[psutil.Process], bool]) -> bool:
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline and _alive(process):
            if answers(process):
                return True
            time.sleep(_PAUSE_SECONDS)
        return False

    def _is_this(self, process: psutil.Process) -> bool:
        try:
            words = process.cmdline()
            return (
                str(self.folder) in words
                and Path(words[0]).name == self.executable.name
                and process.uids().real == self.account.uid
            )
        except psutil.Error:
            return False


def end(process: psutil.Process, first: signal.Signals) -> None:
    """Send `first`, wait, and kill what is still there; an ended process is fine."""
    for sent in (first, signal.SIGKILL):
        try:
            process.send_signal(sent)
        except psutil.NoSuchProcess:
            return
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            if not _alive(process):
                return
            time.sleep(_PAUSE_SECONDS)
    raise EmbeddedServerError(f"Process {process.pid} did not end although it was killed.")


def _alive(process: psutil.Process) -> bool:
    # Where init does not reap (many containers), an ended server stays as a zombie.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _parent(process: psutil.Process) -> int | None:
    try:
        return int(process.ppid())
    except psutil.Error:
        return None
