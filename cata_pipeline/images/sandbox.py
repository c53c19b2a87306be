"""Confines the process that decodes images, and hides the memory of the process that starts it.

A decoder written in C that a hostile image has taken over can run any code. Afterwards it can compute and reply, and
nothing else: every system call but a short list fails, also on processes of the same user that hold secrets. Each
measure stands by itself, so that a kernel that lacks one still applies the others. See docs/decisions/0021.

The decoding process imports this module, so it must import the standard library alone.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# What a decode needs, and the end of the process: the numbers of these calls on the architectures above. None takes a
# path, makes a process or a descriptor, or reaches another process.
_SYSTEM_CALLS = {
    "read": (0, 63),
    "write": (1, 64),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigreturn": (15, 139),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "getrusage": (98, 165),
    "futex": (202, 98),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
}
_OWN_LIMITS = (302, 261)  # prlimit64, whose first argument must be 0: this process


def hide_memory() -> list[str]:
    """Keep other processes of this user from reading this process's memory and environment; returns what failed.

    For the rest of this process's life: it leaves no core dump, a debugger or profiler needs `CAP_SYS_PTRACE` to
    attach, and the files in `/proc/PID` belong to root. Programs that it starts are as before.
    """
    return _failed({"PR_SET_DUMPABLE": lambda: _prctl(_PR_SET_DUMPABLE, 0)})


def confine() -> list[str]:
    """Take from this process, for good, all that decoding does not need; returns the names of what failed.

    No file or connection can be opened, no process or thread started, none signalled, traced or limited. Import
    everything and open everything before.
    """
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):
        resource.setrlimit(limit, (0, 0))
    return _failed(
        {
            "no_new_privs": lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1),
            # Where root runs it, capabilities would lift the limits above and open other processes' memory. The user
            # stays: a parent without CAP_KILL could not end a process of another one.
            "capset": _drop_capabilities,
            "seccomp": _filter_system_calls,
        }
    )


def _failed(measures: dict[str, Callable[[], None]]) -> list[str]:
    failed = []
    for name, apply in measures.items():
        try:
            apply()
        except OSError:
            failed.append(name)
    return failed


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raises `OSError` when it fails, and where there is none (macOS)."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _prctl(option: int, first: int, second: object = None) -> None:
    rest = [ctypes.c_ulong(0)] * 2
    _call("prctl", option, ctypes.c_ulong(first), second or ctypes.c_ulong(0), *rest)


def _drop_capabilities() -> None:
    _call("capset", struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))


def _filter_system_calls() -> None:
    if platform.machine() not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    code = _filter_program(platform.machine())
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions and a pointer to them.
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, struct.pack("HP", len(code) // 8, ctypes.addressof(buffer)))


def _filter_program(machine: str) -> bytes:
    """The filter in classic BPF, over `struct seccomp_data`: any call but those above fails with EPERM."""
    column = list(_ARCHITECTURES).index(machine)

    def load(offset: int) -> tuple[int, int, int, int]:
        return 0x20, 0, 0, offset

    def unless_equal(value: int, skip: int) -> tuple[int, int, int, int]:
        return 0x15, 0, skip, value

    allow, refuse, kill = (6, 0, 0, 0x7FFF0000), (6, 0, 0, 0x00050000 | errno.EPERM), (6, 0, 0, 0x80000000)
    # The numbers of another architecture mean other calls, so one that calls by them is killed.
    code = [load(4), unless_equal(_ARCHITECTURES[machine], 1), (0x05, 0, 0, 1), kill, load(0)]
    for numbers in _SYSTEM_CALLS.values():
        code += [unless_equal(numbers[column], 1), allow]
    code += [unless_equal(_OWN_LIMITS[column], 3), load(16), unless_equal(0, 1), allow, refuse]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
