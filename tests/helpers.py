"""What several test files need: comparisons, small models, cheap compilation."""

import functools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.diffusion.preconditioning import Preconditioning
from rosecd_jax.diffusion.sde import SBVE
from rosecd_jax.metrics import pesq_is_installed
from rosecd_jax.models.ncsnpp import NCSNppConfig
from rosecd_jax.models.score_model import ModelConfig, ScoreModel
from tests.quick import OPTIONS

FIXTURES = Path(__file__).parent / "fixtures"

NETWORK = NCSNppConfig(channels=8)
"""The size of the networks in the golden files."""
TEACHER = ScoreModel(ModelConfig(role="teacher", network=NETWORK))
STUDENT = ScoreModel(ModelConfig(role="student", network=NETWORK, preconditioning=Preconditioning(c_in="1")))
BRIDGE = ScoreModel(
    ModelConfig(sde=SBVE(), network=NETWORK, preconditioning=Preconditioning(c_in="1", c_out="1", c_skip="0"))
)
TINY = ScoreModel(ModelConfig(network=NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1)))
"""Compiles in a second or two; has attention in the bottleneck only."""

needs_pesq = pytest.mark.skipif(
    not pesq_is_installed(),
    reason="needs the package pesq: pip install 'rosecd-jax[eval]', with a C compiler",
)

quick_jit = functools.partial(jax.jit, compiler_options=OPTIONS)
"""jit with these options, whatever XLA_FLAGS says: the slow tests compile other programs as users do."""


def fixture(name: str) -> dict[str, np.ndarray]:
    """The arrays of a committed file of fixtures."""
    with np.load(FIXTURES / f"{name}.npz") as file:
        return dict(file)


def relative_error(actual: Any, expected: Any) -> float:
    """Largest difference, relative to the largest magnitude of `expected`; NaN if there is a NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shapes differ: {actual.shape}, expected {expected.shape}"
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def random_params(model: ScoreModel, seed: int = 0) -> Any:
    """Parameters in which every array counts (a fresh network begins as almost the identity)."""
    generator = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda s: generator.normal(scale=0.2, size=s.shape).astype(np.float32), shapes)


def random_spectrogram(*shape: int, seed: int = 0, scale: float = 0.3) -> np.ndarray:
    """complex64 circular noise."""
    real, imaginary = np.random.default_rng(seed).normal(scale=scale, size=(2, *shape))
    return (real + 1j * imaginary).astype(np.complex64)


def flat(tree: Any) -> dict[str, np.ndarray]:
    """A parameter tree as {"block/layer/kernel": array}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(str(part.key) for part in path): np.asarray(leaf) for path, leaf in leaves}


Program = Callable[..., dict[str, jax.Array]]
"""(params, x_t, y, t) -> {"denoise": …, "score": …} of any number of items of 64 frames."""


@functools.cache
def compile_model(model: ScoreModel, *names: str) -> Program:
    """Those methods of the model in one program, for one item at a time; the network is compiled once."""
    spectrogram = jax.ShapeDtypeStruct((1, model.config.network.bins, 64), np.complex64)
    shapes = jax.eval_shape(model.init, jax.random.key(0)), spectrogram, spectrogram
    methods = quick_jit(lambda *arguments: {name: getattr(model, name)(*arguments) for name in names})
    compiled = methods.lower(*shapes, jax.ShapeDtypeStruct((1,), np.float32)).compile()

    def program(params, x_t, y, t):
        t = jnp.broadcast_to(t, len(x_t))
        with jax.disable_jit(False):  # compiled even where a test runs all around it step by step
            items = [compiled(params, *(a[i : i + 1] for a in (x_t, y, t))) for i in range(len(x_t))]
        return {name: jnp.concatenate([item[name] for item in items]) for name in names}

    return program


def free_port() -> int:
    """A port for processes that join each other on this machine."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def run_without_privilege(code: str, path: Path) -> str:
    """What code prints that runs without root's right to read everything; `path` is its sys.argv[1]."""
    command = [sys.executable, "-c", f"import sys; from rosecd_jax.audio import io; {code}", str(path)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
