"""Killed runs with a custom function: they resume, and end like an uninterrupted one."""

import os
import signal
import subprocess
import sys
import time

import pytest

from rosecd_jax.audio import io
from tests.research import ROLES, rosecd, write_configs
from tests.training.runs import assert_equal, last_step

STEPS, KILLED = 20, 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus):
    """A directory outside the repository, with a config file for each role."""
    return write_configs(tmp_path_factory.mktemp("killed"), corpus)


def train(role: str, workdir: str, *overrides: str) -> str:
    return rosecd("train", "--config", f"my_{role}.py", "--workdir", workdir, *overrides)


def kill(role: str, workdir: str, folder) -> int:
    """Train in a process, kill it once `KILLED` steps are on disk; returns the last one there."""
    words = ["train", "--config", f"my_{role}.py", "--workdir", workdir, "--config.steps=100000"]
    checkpoints = folder / workdir / "checkpoints"

    def last() -> int:
        return max((int(path.name) for path in checkpoints.glob("*") if path.name.isdigit()), default=0)

    with subprocess.Popen([sys.executable, "-m", "rosecd_jax.cli", *words], cwd=folder) as process:
        deadline = time.monotonic() + 600  # of a busy machine
        while last() < KILLED:
            assert process.poll() is None, "the run ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return last()


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_a_killed_run_ends_as_one_that_was_not_and_is_enhanced_with(role, folder, corpus, monkeypatch):
    monkeypatch.chdir(folder)
    if role == "teacher_step":
        train("teacher", "runs/teacher", "--config.steps=1")
    last = kill(role, f"runs/{role}", folder)
    steps = f"--config.steps={max(STEPS, last + 1)}"  # the last one, unless this machine was too busy to kill
    assert f"resumed at step {last}" in train(role, f"runs/{role}", steps)
    train(role, f"runs/{role}_whole", steps)
    resumed, whole = (last_step(folder / "runs" / name) for name in (role, f"{role}_whole"))
    assert_equal(resumed, whole)
    assert ROLES[role][2] in rosecd("info", f"runs/{role}")
    noisy, enhanced = corpus / "valid" / "noisy" / "0.wav", folder / f"{role}.wav"
    network = ["--network", "my_network.py:UNet"] if role == "network" else []
    rosecd("enhance", noisy, enhanced, "--checkpoint", f"runs/{role}", "--steps", 1, *network)
    assert io.read(enhanced).wave.shape == io.read(noisy).wave.shape
