"""What a person at the terminal sees of a run: it is never silent for long."""

import itertools
import os
import subprocess
import sys
import time

import pytest

from rosecd_jax.training import status as module
from rosecd_jax.training.status import Announced, Status
from tests.training.runs import ROOT

pytestmark = pytest.mark.slow


def test_from_its_start_to_its_tenth_step_a_run_is_never_silent_for_ten_seconds(tmp_path):
    """The demonstration's network, whose gradient takes longer than that to compile, with nothing cached."""
    make = [sys.executable, "-m", "rosecd_jax.cli", "prepare", "synthetic", str(tmp_path / "corpus")]
    options = ["--hours", "0.02", "--valid-files", "2", "--test-files", "1", "--utterance-seconds", "1", "1"]
    subprocess.run([*make, *options], check=True, cwd=ROOT, capture_output=True)
    train = [sys.executable, str(ROOT / "train.py"), "--config=configs/demo.py:teacher", "--config.steps=10"]
    places = [f"--workdir={tmp_path / 'run'}", f"--config.data.path={tmp_path / 'corpus'}"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    start = time.monotonic()
    process = subprocess.Popen(
        [*train, *places],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = [(time.monotonic() - start, line) for line in process.stdout]
    text = "".join(line for _, line in lines)
    assert process.wait() == 0, text
    tenth = next(i for i, (_, line) in enumerate(lines) if line.startswith("step 10/10"))
    times = [0.0, *(when for when, _ in lines[: tenth + 1])]
    assert max(b - a for a, b in itertools.pairwise(times)) < 10, text
    for words in ("compiling the gradient ...", "compiling the gradient: ", "first step: "):
        assert words in text


def test_a_long_activity_is_named_again_and_a_short_one_is_not(monkeypatch):
    monkeypatch.setattr(module, "SILENCE", 0.2)
    lines = []
    with Status(lines.append) as status:
        with status.doing("thinking", announce=False):
            time.sleep(1.5)
        with status.doing("blinking"):
            pass
        time.sleep(0.8)
    assert all(line.startswith("thinking ... ") for line in lines[:-2])
    assert len(lines) >= 3
    assert lines[-2:] == ["blinking ...", "blinking: 0.0 s"]


def test_a_program_is_announced_once_for_every_shape():
    import jax
    import numpy as np

    lines = []
    with Status(lines.append) as status:
        program = Announced(jax.jit(lambda x: x + 1), "the sum", status)
        for size in (2, 2, 3, 2):
            np.testing.assert_array_equal(program(np.zeros(size)), 1)
    assert [line for line in lines if line.endswith("...")] == 2 * ["compiling the sum ..."]
