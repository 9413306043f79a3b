"""rosecd_jax.workers: real processes, real signals."""

import os
import signal
import subprocess
import sys
import time

import pytest

from rosecd_jax.workers import background_pool

PROGRAM = """
import time
from rosecd_jax.workers import background_pool
pool = background_pool(2)
list(pool.map(time.sleep, [1, 1]))  # both have begun
print(*pool._processes, flush=True)
time.sleep(600)
"""


def running(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_workers_end_with_a_process_that_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    assert all(map(running, workers))
    parent.kill()
    parent.wait()
    end = time.monotonic() + 30
    while (left := list(filter(running, workers))) and time.monotonic() < end:
        time.sleep(0.1)
    for worker in left:
        os.kill(worker, signal.SIGKILL)
    assert not left


def test_workers_give_way_and_leave_an_interrupt_to_their_parent():
    with background_pool(1) as pool:
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
        assert pool.submit(signal.getsignal, signal.SIGTERM).result() == signal.SIG_DFL
        if hasattr(os, "nice"):
            assert pool.submit(os.nice, 0).result() == 19
