"""Table of cases: Ctrl-C ends a library that never comes back, and nothing that ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

LIMIT_S = 280  # of wall time, for processes that end in a few seconds; a busy machine may need many more

ENDLESS = """
import ctypes, sys
from slimyolo.cli.main import run_safely

library, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)

def endless():  # a call that never comes back, as of a graph with an endless loop: a lock is taken twice
    library.pthread_mutex_lock(lock)
    library.pthread_mutex_lock(lock)

def act():
    print("ready", flush=True)
    endless()
    return 0

sys.exit(run_safely(act))
"""
PATIENT = ENDLESS.replace("    endless()", "    import time; time.sleep(600)")
FORKED = ENDLESS.replace(
    "    endless()",
    "    import os, signal, time\n    child = os.fork()\n    if child == 0:\n        time.sleep(600)\n"
    "    time.sleep(1); os.kill(child, signal.SIGINT); os.waitpid(child, 0); time.sleep(0.5)",
)


def _started(text: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        assert process.poll() is None
    time.sleep(0.5)
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_second_ctrl_c_ends_an_endless_loop_at_once() -> None:
    process = _started(ENDLESS)
    for _ in range(2):
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.6)
    out = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "stopped, while a library was computing" in out[1]


@pytest.mark.slow
def test_one_ctrl_c_ends_an_endless_loop_after_a_while() -> None:
    process = _started(ENDLESS)
    os.kill(process.pid, signal.SIGINT)
    out = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "Ctrl-C again ends it at once" in out[1]


def test_what_notices_ctrl_c_ends_as_before() -> None:
    process = _started(PATIENT)
    os.kill(process.pid, signal.SIGINT)
    out = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert out[1].splitlines()[-1] == "slimyolo: stopped."
    assert "while a library was computing" not in out[1]


def test_a_signal_to_a_forked_process_is_not_for_the_command() -> None:
    process = _started(FORKED)
    out = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, out[1]
