"""Fixtures shared by all tests: the authors' numbers and the networks that made them."""

import importlib
import os
import pkgutil
import signal

from tests.quick import FLAGS

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the tolerances are those of float32 on a CPU
os.environ.setdefault("XLA_FLAGS", FLAGS)  # inherited by the processes that tests start

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background, and so in all processes
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from jaxtyping import install_import_hook

from tests import annotations

CHECKED = ["rosecd_jax.audio.stft", "rosecd_jax.diffusion", "rosecd_jax.losses", "rosecd_jax.models"]

with install_import_hook(CHECKED, f"{annotations.__name__}.check"):
    from rosecd_jax.conversion import params_from_torch
    from rosecd_jax.losses import Batch
    from tests import fidelity
    from tests.goldens import packing
    from tests.helpers import BRIDGE, NETWORK, STUDENT, TEACHER, compile_model

    for room in CHECKED:
        path = getattr(importlib.import_module(room), "__path__", ())
        for module in pkgutil.iter_modules(path, f"{room}."):
            importlib.import_module(module.name)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))


def pytest_terminal_summary(terminalreporter, config):
    if config.option.markexpr != "fidelity":
        return
    stats = terminalreporter.stats
    terminalreporter.section("compared with the authors' numbers")
    terminalreporter.write_line(fidelity.table(list(fidelity.rows(stats))))
    if incomplete := sum(len(stats.get(kind, [])) for kind in ("failed", "error", "skipped")):
        terminalreporter.write_line(f"{incomplete} tests failed or were skipped: rows may be missing")


@pytest.fixture
def agree(request):
    return fidelity.Agree(request.node.user_properties)


@pytest.fixture(scope="session")
def networks():
    """The parameters of the authors' small networks: teacher, student, target and sb."""
    names = ("teacher", "student", "target", "sb")
    return {name: params_from_torch(packing.network(name)[0], NETWORK) for name in names}


@pytest.fixture(scope="session")
def speech():
    """Their two items: clean and noisy spectrograms of 64 frames."""
    return Batch(*packing.golden("speech").values())


@pytest.fixture(scope="session")
def torch_checkpoint(tmp_path_factory):
    """name -> the path of a checkpoint of theirs."""

    def write(name):
        path = tmp_path_factory.mktemp("checkpoint") / f"{name}.ckpt"
        path.write_bytes(packing.checkpoint(name))
        return path

    return write


@pytest.fixture(scope="session")
def teacher_program():
    return compile_model(TEACHER, "denoise", "score", "raw")


@pytest.fixture(scope="session")
def student_program():
    return compile_model(STUDENT, "denoise", "score")


@pytest.fixture(scope="session")
def bridge_program():
    return compile_model(BRIDGE, "denoise")
