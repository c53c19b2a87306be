"""A decoder that a hostile image has taken over: code that runs inside a real decoding process attacks its parent.

Each attack also runs without the sandbox, where it must succeed: otherwise its failure would prove nothing. Under root
everything runs as root and as an ordinary user.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from cata_pipeline.images.inspection import DECODER

ORDINARY = 65534
# An ordinary user, who may read wherever the interpreter is installed.
SETPRIV = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
SETPRIV += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
USERS = {"root": [], "ordinary": SETPRIV} if os.geteuid() == 0 else {"ordinary": []}

TAKEN_OVER = rf"""
import ctypes, os, platform, resource, runpy, socket, sys, threading
decoder = runpy.run_path({str(DECODER)!r})
parent, libc, mode = os.getppid(), ctypes.CDLL(None, use_errno=True), {{mode!r}}
def call(name, *arguments):
    if (returned := getattr(libc, name)(*arguments)) < 0:
        raise OSError(ctypes.get_errno(), name)
    return returned
def read_memory(address, size):
    found = ctypes.create_string_buffer(size)
    here, there = ((ctypes.c_size_t * 2)(at, size) for at in (ctypes.addressof(found), address))
    call("process_vm_readv", parent, here, 1, there, 1, 0)
    return found.raw
def verdict(content, limits):
    if not content.startswith(b"\xff\xd8\xff#"):
        return decode(content, limits)
    try:
        return {{{{"reason": str(eval(content[4:]))}}}}
    except (OSError, RuntimeError, ValueError) as error:
        return {{{{"reason": f"failed: {{{{error}}}}"}}}}
ours = decoder["main"].__globals__
decode, ours["verdict"] = decoder["verdict"], verdict
if mode == "unconfined":
    ours["confine"] = lambda limits: []
if mode == "without seccomp":
    platform.machine = lambda: "s390x"
decoder["main"](sys.argv[1:])
"""
PARENT = """
import ctypes, json, logging, os, sys, tempfile
from pathlib import Path
from cata_pipeline.images import sandbox
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.inspection import Inspector
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline_tests.images.pictures import draw
logging.basicConfig(format="%(message)s")
mode, program, attacks = sys.argv[1], Path(sys.argv[2]), json.load(sys.stdin)
secret = ctypes.create_string_buffer(b"hush in memory")
inherited = os.dup(0)
os.set_inheritable(inherited, True)
if mode == "unconfined":
    sandbox.hide_memory = lambda: []
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # Yama, where there is one: anyone may trace
outcomes = {}
with Inspector(CopyLimits(), program) as inspector, tempfile.NamedTemporaryFile() as file:
    file.write(b"hush in a file")
    file.flush()
    places = {"address": ctypes.addressof(secret), "size": len(secret) - 1, "file": file.name, "inherited": inherited}
    outcomes["images"] = " ".join(inspector.inspect(draw(kind=kind)).name for kind in ("JPEG", "PNG", "WEBP"))
    for name, attack in attacks.items():
        try:
            inspector.inspect(b"\\xff\\xd8\\xff#" + attack.format(**places).encode())
        except PictureError as error:
            outcomes[name] = error.reason
print(json.dumps(outcomes))
"""
READS = {
    "environment": ("open(f'/proc/{{parent}}/environ').read()", "hush in the environment"),
    "memory file": ("open(f'/proc/{{parent}}/mem', 'rb').close() or 'opened'", "opened"),
    "memory": ("read_memory({address}, {size})", "hush in memory"),
    "ptrace": ("call('ptrace', 0x4206, parent, 0, 0)", "0"),  # PTRACE_SEIZE
    "secrets file": ("open({file!r}).read()", "hush in a file"),
    "limits lifted": (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)) or open({file!r}).read()",
        "hush in a file",
    ),
    "connection": ("socket.socket().type.name", "SOCK_STREAM"),
    "local connection": ("socket.socket(socket.AF_UNIX).family.name", "AF_UNIX"),
    "pipe": ("len(os.pipe())", "2"),
}
ACTS = {
    "signal": ("os.kill(parent, 0)", "None"),
    "limit of another process": ("resource.prlimit(parent, resource.RLIMIT_CPU)[0]", "-1"),
    "process": ("(os.fork() or os._exit(0)) > 0", "True"),
    "thread": ("threading.Thread(target=int).start()", "None"),
    "working folder": ("os.chdir('/')", "None"),
    # Last: it ends the process, and the program that replaces it replies.
    "program": ("""os.execv('/bin/echo', ['echo', '{{"reason": "replaced"}}'])""", "replaced"),
}
ATTACKS = READS | ACTS


@cache
def ran(mode: str, user: str, program: Path) -> tuple[Mapping[str, str], str]:
    """What became of each attack, and what the parent logged."""
    program.write_text(TAKEN_OVER.format(mode=mode))
    done = subprocess.run(
        [*USERS[user], sys.executable, "-c", PARENT, mode, str(program)],
        input=json.dumps({name: attack for name, (attack, _) in ATTACKS.items()}),
        env={"SECRET": "hush in the environment", "PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("taken-over") / "decoder.py"


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_without_the_sandbox_the_attack_succeeds(program: Path, user: str, attack: str) -> None:
    outcomes, _ = ran("unconfined", user, program)
    assert ATTACKS[attack][1] in outcomes[attack]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_decoder_that_an_image_took_over_cannot(program: Path, user: str, attack: str) -> None:
    outcomes, log = ran("confined", user, program)
    assert outcomes[attack].startswith("failed: ")
    assert log == ""


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("attack", READS)
def test_where_the_kernel_refuses_seccomp_the_rest_still_protects_secrets(
    program: Path, user: str, attack: str
) -> None:
    outcomes, log = ran("without seccomp", user, program)
    assert outcomes[attack].startswith("failed: ")
    [line] = log.splitlines()
    assert "this system refused seccomp." in line


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("mode", ["confined", "without seccomp"])
def test_the_same_process_still_decodes_images(program: Path, user: str, mode: str) -> None:
    outcomes, _ = ran(mode, user, program)
    assert outcomes["images"] == "JPEG PNG WEBP"


WATCHED = """
import os, subprocess, sys
from cata_pipeline.images import sandbox
from cata_pipeline.images.inspection import Inspector
from cata_pipeline_tests.images.pictures import draw
with Inspector() as inspector:
    if sys.argv[1] == "decoding":
        inspector.inspect(draw())
    # What root may read anyway does not count.
    sandbox._prctl(sandbox._PR_SET_NO_NEW_PRIVS, 1)
    sandbox._drop_capabilities()
    sys.exit(subprocess.run(["cat", f"/proc/{os.getpid()}/environ"], cwd="/").returncode)
"""


@pytest.mark.parametrize("user", USERS)
def test_no_process_of_the_same_user_reads_the_memory_of_one_that_decodes(user: str) -> None:
    def environment_seen(state: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*USERS[user], sys.executable, "-c", WATCHED, state],
            env={"SECRET": "hush", "PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert "SECRET=hush" in environment_seen("idle").stdout
    hidden = environment_seen("decoding")
    assert (hidden.returncode, hidden.stdout) == (1, "")
    assert "Permission denied" in hidden.stderr
