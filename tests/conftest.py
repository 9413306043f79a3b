"""Fixtures shared by all tests: the authors' numbers and the networks that made them."""

import os
import signal

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the tolerances are those of float32 on a CPU

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background, and so in all processes
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest

from tests.helpers import BRIDGE, GOLDENS, STUDENT, TEACHER, compile_model, theirs


@pytest.fixture(scope="session")
def goldens():
    """name -> the arrays of ../shared/goldens/name.npz."""
    if not GOLDENS.is_dir():
        pytest.skip(f"needs the authors' numbers in {GOLDENS}")

    def load(name):
        with np.load(GOLDENS / f"{name}.npz") as file:
            return dict(file)

    return load


@pytest.fixture(scope="session")
def networks(goldens):
    """The parameters of the golden networks: teacher, student, target and sb."""
    arrays = goldens("network")
    return {name: theirs(arrays, f"{name}/") for name in ("teacher", "student", "target", "sb")}


@pytest.fixture(scope="session")
def teacher_program():
    return compile_model(TEACHER, "denoise", "score")


@pytest.fixture(scope="session")
def student_program():
    return compile_model(STUDENT, "denoise", "score", "raw")


@pytest.fixture(scope="session")
def bridge_program():
    return compile_model(BRIDGE, "denoise")
