"""What several test files need: comparison with the authors' numbers, small models, cheap compilation."""

import contextlib
import functools
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rosecd_jax.conversion.sgmse import params_from_torch
from rosecd_jax.diffusion.preconditioning import Preconditioning
from rosecd_jax.diffusion.sde import SBVE
from rosecd_jax.models.ncsnpp import NCSNppConfig
from rosecd_jax.models.score_model import ModelConfig, ScoreModel

FIXTURES = Path(__file__).parent / "fixtures"
GOLDENS = Path(__file__).parents[2] / "shared" / "goldens"

NETWORK = NCSNppConfig(channels=8)
"""The size of the networks in the golden files."""
TEACHER = ScoreModel(ModelConfig(role="teacher", network=NETWORK))
STUDENT = ScoreModel(ModelConfig(role="student", network=NETWORK, preconditioning=Preconditioning(c_in="1")))
BRIDGE = ScoreModel(
    ModelConfig(sde=SBVE(), network=NETWORK, preconditioning=Preconditioning(c_in="1", c_out="1", c_skip="0"))
)
TINY = ScoreModel(ModelConfig(network=NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1)))
"""Compiles in a second or two; has attention in the bottleneck only."""

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,  # newer versions of XLA have no such option
}


def known(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options that this version's compiler has."""
    found = {}
    for name, value in options.items():
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
            found[name] = value
    return found


quick_jit = functools.partial(jax.jit, compiler_options=known(QUICK))
"""jit that compiles a network in a third of the time, into a program that is some times slower."""


def fixture(name: str) -> dict[str, np.ndarray]:
    """The arrays of a committed file, see fixtures/make_fixtures.py."""
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


def theirs(arrays: Mapping[str, np.ndarray], prefix: str) -> Any:
    """The authors' parameters (or gradients) under `prefix` as our tree; no gradient counts as zero."""
    state = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
    state.setdefault("all_modules.0.W", np.zeros(NETWORK.channels, np.float32))
    return params_from_torch(state, NETWORK)


def gradient_errors(actual: Any, expected: Any) -> dict[str, float]:
    """The relative error of every gradient of a network.

    The bias of attention's keys shifts all scores of a query alike, which softmax does not see: its gradient
    is zero, and both sides hold rounding noise. Its size relative to the largest gradient is reported here.
    The frequencies of the time embedding are fixed, both gradients are zero.
    """
    actual, expected = flat(actual), flat(expected)
    assert actual.keys() == expected.keys()
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    errors = {}
    for name, gradient in expected.items():
        if name.endswith("key/bias") or name == "time/frequencies":
            errors[name] = float(max(np.abs(gradient).max(), np.abs(actual[name]).max()) / largest)
        else:
            errors[name] = relative_error(actual[name], gradient)
    return errors


def assert_gradients_agree(actual: Any, expected: Any) -> None:
    """Within 1e-3 of each array's largest magnitude, and 1e-6 of the largest of all where they are zero."""
    for name, error in gradient_errors(actual, expected).items():
        zero = name.endswith("key/bias") or name == "time/frequencies"
        assert error < (1e-6 if zero else 1e-3), f"gradient of {name}: relative error {error}"


Program = Callable[..., dict[str, jax.Array]]
"""(params, x_t, y, t) -> {"denoise": …, "score": …}, compiled for two items of 64 frames."""


def compile_model(model: ScoreModel, *names: str) -> Program:
    """Those methods of the model in one program; where they share the network, it is compiled once."""
    params = jax.eval_shape(model.init, jax.random.key(0))
    state = jax.ShapeDtypeStruct((2, 256, 64), np.complex64)
    times = jax.ShapeDtypeStruct((2,), np.float32)

    def methods(*arguments):
        return {name: getattr(model, name)(*arguments) for name in names}

    compiled = quick_jit(methods).lower(params, state, state, times).compile()

    def program(*arguments):
        with jax.disable_jit(False):  # compiled even where a test runs all around it step by step
            return compiled(*arguments)

    return program


def free_port() -> int:
    """A port for processes that join each other on this machine."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]
