"""The embedded servers: started, shared, left and replaced by real processes."""

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

import cata_pipeline
from cata_pipeline.buckets import Bucket
from cata_pipeline.demo import detached
from cata_pipeline.demo.detached import EmbeddedServerError, Program, end, own_account
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.errors import UsageError

PROJECT = Path(cata_pipeline.__path__[0]).parent
USE = """
import signal, sys
from pathlib import Path
from cata_pipeline.demo.servers import EmbeddedServers

# Whoever runs the tests in the background has them ignore it, and what they start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)
with EmbeddedServers(Path(sys.argv[1]), durable=False) as servers:
    try:
        print(servers.gcs_origin, flush=True)
        sys.stdin.readline()
    except KeyboardInterrupt:
        print(servers.create_database("after_ctrl_c"), flush=True)
"""
USE_AS = """
import os, sys
from pathlib import Path
from cata_pipeline.demo.servers import EmbeddedServers

def use(state):
    with EmbeddedServers(Path(state), durable=False) as servers:
        servers.create_bucket("images")
        print(servers.create_database("a"), servers.create_database("a"))

# First as the user who started this: that loads every module, and the interpreter's own folder may be closed to others.
use(sys.argv[1])
uid, gid = map(int, sys.argv[3:])
if uid != os.geteuid():
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
use(sys.argv[2])
print(os.geteuid())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder that other users may pass through; no process that names it is left behind."""
    path = Path(tempfile.mkdtemp(prefix="cata-servers-")).resolve()
    path.chmod(0o711)
    yield path
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(path) in word for word in process.cmdline()):
                process.kill()
    shutil.rmtree(path)


@pytest.fixture
def state(folder: Path) -> Path:
    return folder / "state"


@contextlib.contextmanager
def another_process(state: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has started or joined the servers; it leaves them when it reads a line."""
    with subprocess.Popen(
        [sys.executable, "-c", USE, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def origin_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def answers(origin: str) -> bool:
    try:
        return httpx.get(f"{origin}/storage/v1/b?project=x", trust_env=False).is_success
    except httpx.TransportError:
        return False


def running(servers: EmbeddedServers) -> list[psutil.Process | None]:
    postgresql = servers._postgresql._program
    assert postgresql
    return [postgresql.running(), servers._gcs._program.running()]


def query(servers: EmbeddedServers, statement: str) -> object:
    url = servers.postgresql_url("postgres", "postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row
    return row[0]


def test_databases_and_objects_survive_a_restart(state: Path) -> None:
    with EmbeddedServers(state, durable=False) as servers:
        assert servers.create_database("kept") is True
        servers.create_bucket("images")
        Bucket("images", servers.gcs_origin).create("a.png", b"\x89PNG", content_type="image/png")
    assert running(servers) == [None, None]
    assert not answers(servers.gcs_origin)
    with EmbeddedServers(state, durable=False) as servers:
        assert servers.create_database("kept") is False
        reply = httpx.get(f"{servers.gcs_origin}/images/a.png", trust_env=False)
        assert (reply.content, reply.headers["content-type"]) == (b"\x89PNG", "image/png")


def test_all_data_and_logs_stay_in_the_state_folder(state: Path) -> None:
    with EmbeddedServers(state, durable=False) as servers:
        assert query(servers, "SHOW data_directory") == str(state / "postgresql")
        assert servers.log_folder == state / "logs"
        assert "ready to accept connections" in (servers.log_folder / "postgresql.log").read_text()
    assert {path.name for path in state.iterdir()} == {
        "postgresql",
        "objects",
        "logs",
        "change.lock",
        "users.lock",
    }


def test_a_folder_closed_to_other_users_stays_closed_and_its_servers_keep_their_data(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    state = closed / "state"
    with EmbeddedServers(state, durable=False) as servers:
        assert servers.create_database("kept") is True
    with EmbeddedServers(state, durable=False) as servers:
        assert servers.create_database("kept") is False
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    data = (state / "postgresql").resolve()
    shutil.rmtree(state)
    with EmbeddedServers(state, durable=False) as servers:
        assert servers.create_database("kept") is True, "without its folder a server begins anew"
    if data.parent != state:
        shutil.rmtree(data.parent)


def test_nothing_is_reachable_from_another_machine(servers: EmbeddedServers) -> None:
    assert query(servers, "SHOW listen_addresses") == ""
    process = servers._gcs._program.running()
    assert process
    assert {connection.laddr.ip for connection in process.net_connections("inet")} == {"127.0.0.1"}


def test_the_environment_is_not_touched(state: Path) -> None:
    before = dict(os.environ)
    with EmbeddedServers(state, durable=False):
        assert dict(os.environ) == before
    assert dict(os.environ) == before


@pytest.mark.parametrize(("durable", "fsync"), [(True, "on"), (False, "off")])
def test_durability_is_the_callers_choice(state: Path, fsync: str, *, durable: bool) -> None:
    with EmbeddedServers(state, durable=durable) as servers:
        assert (query(servers, "SHOW fsync"), query(servers, "SHOW synchronous_commit")) == (fsync, fsync)
        assert query(servers, "SHOW max_connections") == "200"


def test_a_second_process_joins_and_the_last_one_out_stops_the_servers(state: Path) -> None:
    with another_process(state) as first:
        origin = origin_of(first)
        with EmbeddedServers(state, durable=False) as servers:
            assert servers.gcs_origin == origin
        assert answers(origin)
        assert None not in running(servers)
        first.communicate("\n")
        assert first.returncode == 0
    assert running(servers) == [None, None]


def test_the_process_that_started_the_servers_may_leave_first(state: Path) -> None:
    with EmbeddedServers(state, durable=False) as servers, another_process(state) as second:
        origin = origin_of(second)
        servers.stop()
        assert answers(origin)
        second.communicate("\n")
        assert second.returncode == 0
    assert running(servers) == [None, None]


def test_servers_of_a_killed_process_are_joined_and_stopped_by_the_next(state: Path) -> None:
    with another_process(state) as killed:
        origin = origin_of(killed)
    assert answers(origin)
    with EmbeddedServers(state, durable=False) as servers:
        assert servers.gcs_origin == origin
    assert running(servers) == [None, None]


def test_servers_that_were_killed_too_are_replaced_and_keep_what_was_committed(state: Path) -> None:
    with EmbeddedServers(state, durable=False) as servers:
        assert servers.create_database("kept") is True
        for process in running(servers):
            assert process
            process.kill()
        with EmbeddedServers(state, durable=False) as again:
            assert again.create_database("kept") is False
            assert answers(again.gcs_origin)


def test_a_pid_file_that_names_another_program_by_now_does_not_matter(state: Path) -> None:
    with EmbeddedServers(state, durable=False) as servers:
        program = servers._postgresql._program
        assert program
        lock = (state / "postgresql" / "postmaster.pid").read_text()
    _, _, rest = lock.partition("\n")
    user = program.account.uid if program.account.switch else None
    with subprocess.Popen(["sleep", "600"], user=user) as other:  # noqa: S607 any program of that user will do
        try:
            (state / "postgresql" / "postmaster.pid").write_text(f"{other.pid}\n{rest}")
            (state / "postgresql" / ".s.PGSQL.5432.lock").write_text(f"{other.pid}\n{rest}")
            with EmbeddedServers(state, durable=False) as servers:
                assert query(servers, "SELECT 1") == 1
            assert other.poll() is None
        finally:
            other.kill()


def test_a_pid_file_that_was_cut_off_does_not_matter(state: Path) -> None:
    with EmbeddedServers(state, durable=False):
        pass
    (state / "postgresql" / "postmaster.pid").write_text("")
    with EmbeddedServers(state, durable=False) as servers:
        assert query(servers, "SELECT 1") == 1


def test_a_data_folder_that_was_never_finished_is_made_anew(state: Path) -> None:
    half = state / "postgresql.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedServers(state, durable=False) as servers:
        assert query(servers, "SELECT 1") == 1
    assert not half.exists()


def test_data_of_another_version_is_refused(state: Path) -> None:
    (state / "postgresql").mkdir(parents=True)
    (state / "postgresql" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServerError, match=r"was made by PostgreSQL 16; expected 18\. Remove it"):
        EmbeddedServers(state).start()


def test_a_folder_that_cannot_be_started_in_leaves_nothing_running(state: Path) -> None:
    state.mkdir()
    (state / "objects").write_text("not a folder")
    servers = EmbeddedServers(state, durable=False)
    with pytest.raises(FileExistsError):
        servers.start()
    assert running(servers) == [None, None]
    (state / "objects").unlink()
    with servers:
        assert None not in running(servers)


def test_ctrl_c_reaches_our_process_and_not_the_servers(state: Path) -> None:
    with another_process(state) as process:
        origin_of(process)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate()
        assert (output, process.returncode) == ("True\n", 0)
    servers = EmbeddedServers(state)
    assert servers._gcs._program.running() is None


def test_a_state_folder_with_a_long_path_works(folder: Path) -> None:
    state = folder / ("x" * 60) / ("y" * 60)
    with EmbeddedServers(state, durable=False) as servers:
        assert query(servers, "SELECT 1") == 1
        sockets = servers._postgresql._sockets()
    assert sockets.parent == Path(tempfile.gettempdir()).resolve()
    assert sockets.stat().st_mode & 0o777 == 0o700
    sockets.rmdir()


def test_a_state_folder_of_another_user_is_refused(folder: Path) -> None:
    foreign = Path("/")
    if os.geteuid() == 0:
        foreign = folder
        os.chown(folder, 65534, 65534)
    with pytest.raises(UsageError, match=r"belongs to the user with id \d+, and this is user \d+\. Run as that user"):
        EmbeddedServers(foreign).start()


def users_at_hand() -> list[tuple[int, int]]:
    """User and group ids that can run this checkout: this process's own and, where that is root, an ordinary user's.

    An ordinary user can run nothing in a checkout below a folder that is closed to other users.
    """
    own = (os.geteuid(), os.getegid())
    closed = any(not above.stat().st_mode & stat.S_IXOTH for above in Path(sys.prefix).resolve().parents)
    if own[0] != 0 or closed:
        return [own]
    nobody = pwd.getpwnam("nobody")
    return [own, (nobody.pw_uid, nobody.pw_gid)]


@pytest.mark.parametrize(("uid", "gid"), users_at_hand())
def test_every_user_can_run_the_servers_also_after_another_user_did(folder: Path, uid: int, gid: int) -> None:
    home = folder / "home"
    home.mkdir()
    os.chown(home, uid, gid)
    done = subprocess.run(
        [sys.executable, "-c", USE_AS, str(folder / "first"), str(home / "state"), str(uid), str(gid)],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    assert (done.stdout, done.stderr) == (f"True False\nTrue False\n{uid}\n", "")
    assert (home / "state").stat().st_uid == uid


def test_starting_twice_and_stopping_twice_is_fine(state: Path) -> None:
    servers = EmbeddedServers(state, durable=False)
    servers.start()
    servers.start()
    servers.stop()
    servers.stop()
    assert running(servers) == [None, None]


def test_addresses_of_servers_that_were_not_started_are_an_error(state: Path) -> None:
    servers = EmbeddedServers(state)
    with pytest.raises(RuntimeError, match="PostgreSQL was not started"):
        servers.postgresql_url("a")
    with pytest.raises(RuntimeError, match="storage server was not started"):
        _ = servers.gcs_origin


def test_a_bucket_may_be_created_twice_and_a_refusal_is_told(servers: EmbeddedServers) -> None:
    servers.create_bucket("created-twice")
    servers.create_bucket("created-twice")
    with pytest.raises(EmbeddedServerError, match=r"did not create the bucket b: it answered 400 '.+'"):
        servers.create_bucket("b")


class Sleeper:
    """A program of the tests: it counts its launches, and the first `failing` of them end early."""

    def __init__(self, folder: Path, failing: int) -> None:
        (folder / "logs").mkdir(exist_ok=True)
        self.program = Program(Path(sys.executable), folder, folder / "logs" / "log", own_account(), patience=0.5)
        self.launches = 0
        self._failing = failing

    def arguments(self) -> Sequence[str]:
        self.launches += 1
        code = "raise SystemExit('out of luck')" if self.launches <= self._failing else "import time; time.sleep(600)"
        return ["-c", code, str(self.program.folder)]

    def start(self, answers: Callable[[psutil.Process], bool]) -> psutil.Process:
        return self.program.ensure(self.arguments, answers)


def test_a_server_that_ends_early_is_launched_again(folder: Path) -> None:
    sleeper = Sleeper(folder, failing=2)
    process = sleeper.start(lambda _: sleeper.launches > 2)
    assert (sleeper.launches, sleeper.program.running()) == (3, process)
    end(process, signal.SIGTERM)
    assert sleeper.program.running() is None


def test_a_server_that_never_starts_is_told_with_the_end_of_its_log(folder: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"did not start\. The end of .*/logs/log:\n(.*\n)*out of luck"):
        Sleeper(folder, failing=99).start(lambda _: False)


def test_a_leftover_that_does_not_answer_is_replaced(folder: Path) -> None:
    sleeper = Sleeper(folder, failing=0)
    leftover = sleeper.start(lambda _: True)
    process = sleeper.start(lambda candidate: candidate != leftover)
    assert process != leftover
    assert sleeper.program.running() == process
    end(process, signal.SIGTERM)


def test_a_process_that_ignores_the_first_signal_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached, "_STOP_SECONDS", 0.2)
    sleeper = Sleeper(folder, failing=0)
    process = sleeper.start(lambda _: True)
    process.suspend()
    end(process, signal.SIGTERM)
    assert sleeper.program.running() is None
