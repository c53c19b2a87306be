"""Ends the processes that a test started."""

import os
import subprocess

import psutil


def kill_session(leader: "subprocess.Popen[bytes]") -> None:
    """Kill a process that leads a session, and everything in that session."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader.pid:
                process.kill()
        except (OSError, psutil.Error):
            continue
    leader.wait()
