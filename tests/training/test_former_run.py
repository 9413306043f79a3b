"""A run that an earlier version began, by the command of then: it resumes, and its weights are read.

tests/fixtures/former_run.zip was written by version 0.1.0 as of its commit e7a6754, by this command with two
steps, less `lock`, `tensorboard` and orbax's `commit_success.txt`, which hold the paths of a machine.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rosecd_jax import load_checkpoint
from rosecd_jax.audio.io import read
from rosecd_jax.inference import Enhancer
from tests.helpers import FIXTURES

ROOT = Path(__file__).parents[2]
COMMAND = [
    *(sys.executable, "train.py", "--config=configs/demo.py:teacher"),
    *("--config.data.speech=examples/recordings/clean", "--config.data.frames=64"),
    *("--config.model.network.channels=4", "--config.model.network.multipliers=(1,1)"),
    *("--config.optimiser.learning_rate=0.002", "--config.checkpoints.every=1"),
    "--config.validation.every=0",
]


@pytest.fixture
def former_run(tmp_path):
    with zipfile.ZipFile(FIXTURES / "former_run.zip") as archive:
        archive.extractall(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.slow
def test_a_former_run_resumes_by_its_former_command(former_run):
    before = load_checkpoint(former_run, weights="raw")[1]
    command = [*COMMAND, f"--workdir={former_run}", "--config.steps=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"resumed at step 2 from {former_run}" in done.stdout
    assert "step 3/3" in done.stdout
    after = load_checkpoint(former_run, weights="raw")[1]
    assert not np.array_equal(before["output"]["kernel"], after["output"]["kernel"])


def test_a_former_checkpoint_enhances(former_run):
    audio = read(ROOT / "examples" / "recordings" / "noisy" / "p287_003.flac")
    enhancer = Enhancer.from_checkpoint(former_run, steps=1)
    assert np.isfinite(enhancer(audio.wave[0, :16_000], audio.sample_rate)).all()
