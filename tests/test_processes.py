"""rosecd_jax.processes: real processes, real signals."""

import os
import platform
import signal
import statistics
import subprocess
import sys
import time

import pytest

from rosecd_jax.processes import background_pool, on_signals, share_of_processes

PROGRAM = """
import time
from rosecd_jax.processes import background_pool, on_signals, share_of_processes
pool = background_pool(2)
list(pool.map(time.sleep, [1, 1]))  # both have begun
print(*pool._processes, flush=True)
time.sleep(600)
"""

PAGE_FAULTS = """
import resource
from rosecd_jax.processes import keep_freed_memory
keep_freed_memory()
import jax, jax.numpy as jnp

@jax.jit
def program(x):  # with more than 128 MiB of temporary memory
    return jnp.abs(jnp.fft.rfft(jnp.tile(x, (2**15, 1)))).sum()

faults = []
for i in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    program(jnp.full(2**10, float(i))).block_until_ready()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*faults)
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
            assert pool.submit(os.nice, 0).result() == 10


@pytest.mark.parametrize(
    ("variables", "share"),
    [
        ({}, (0, 1)),
        ({"JAX_PROCESS_ID": "2", "JAX_NUM_PROCESSES": "3", "SLURM_STEP_NUM_TASKS": "7"}, (2, 3)),
        ({"SLURM_PROCID": "0"}, (0, 1)),  # a batch script, no step of srun
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, (1, 4)),
        ({"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "6"}, (5, 6)),
        ({"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "a,b"}, (1, 2)),
        ({"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "localhost"}, (0, 1)),
    ],
)
def test_work_is_divided_as_the_launcher_says(monkeypatch, variables, share):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert share_of_processes() == share


@pytest.mark.parametrize("number", ["", "2", "-1", "one"])
def test_a_process_that_does_not_know_its_number_is_refused(monkeypatch, number):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", number)
    with pytest.raises(ValueError, match=f"JAX_PROCESS_ID='{number}' and JAX_NUM_PROCESSES='2'"):
        share_of_processes()


def test_signals_are_handled_within_a_block_unless_they_are_ignored():
    received, before = [], signal.getsignal(signal.SIGUSR1)
    with on_signals(received.append, signal.SIGUSR1):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert received == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGUSR1) == before
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with on_signals(received.append, signal.SIGUSR1):
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert received == [signal.SIGUSR1]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets options of glibc's malloc")
def test_a_program_reuses_the_large_buffers_of_its_last_run():
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", PAGE_FAULTS]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    first, *later = map(int, result.stdout.split())
    assert statistics.median(later) < first / 10  # small blocks may take the place of a large one
