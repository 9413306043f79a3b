"""Our numbers against the authors': the rows of `rosecd verify`, and the models that it runs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.conversion import params_from_torch
from rosecd_jax.diffusion import SBVE, Preconditioning
from rosecd_jax.models.ncsnpp import NCSNppConfig
from rosecd_jax.models.score_model import ModelConfig, Params, ScoreModel

CLOSED_FORM, NETWORK, GRADIENT = 1e-5, 1e-4, 1e-3
BRIDGE_ODE = 5e-4
"""Their first step subtracts weights above 5000 in float32; one unit in a weight's last place is 5e-4."""

SMALL = NCSNppConfig(channels=8)
PLAIN = Preconditioning(c_in="1", c_out="1", c_skip="0")
TEACHER = ScoreModel(ModelConfig(role="teacher", network=SMALL))
STUDENT = ScoreModel(ModelConfig(role="student", network=SMALL, preconditioning=Preconditioning(c_in="1")))
BRIDGE = ScoreModel(ModelConfig(sde=SBVE(), network=SMALL, preconditioning=PLAIN))
Arrays = Mapping[str, jax.Array]
Program = Callable[..., dict[str, jax.Array]]
"""(params, x_t, y, t) -> {"denoise": …, "score": …}."""


class Comparison(NamedTuple):
    """One row: largest differences between our numbers and theirs, and what is allowed.

    Attributes:
      quantity: what is compared.
      shape: of the array, or the count of numbers in a tree.
      absolute: largest |ours − theirs|.
      relative: the same divided by the largest |theirs|; of a tree, the worst of its arrays.
      tolerance: of `relative`.
    """

    quantity: str
    shape: tuple[int, ...]
    absolute: float
    relative: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        return self.relative < self.tolerance  # False for NaN

    def cells(self) -> tuple[str, ...]:
        """The row in words: quantity, shape, largest difference, relative, allowed, verdict."""
        shape = " × ".join(map(str, self.shape)) or "1"
        numbers = (f"{self.absolute:.1e}", f"{self.relative:.1e}", f"{self.tolerance:.0e}")
        return self.quantity, shape, *numbers, "agrees" if self.agrees else "DIFFERS"


def compare(quantity: str, ours: Any, theirs: Any, tolerance: float) -> Comparison:
    """Two arrays.

    Raises:
      ValueError: if their shapes differ.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape:
        raise ValueError(f"{quantity}: ours is {ours.shape}, theirs {theirs.shape}")
    absolute = float(np.abs(ours - theirs).max())
    return Comparison(quantity, theirs.shape, absolute, absolute / float(np.abs(theirs).max()), tolerance)


def compare_gradients(quantity: str, ours: Params, theirs: Params) -> Comparison:
    """Two trees: the worst relative difference of all arrays.

    The bias of attention's keys and the fixed frequencies have no gradient but rounding; theirs are taken
    relative to the largest gradient of all.
    """
    leaves = jax.tree_util.tree_leaves_with_path(theirs)
    largest = max(float(np.abs(leaf).max()) for _, leaf in leaves)
    absolute, relative = [], []
    for (path, expected), found in zip(leaves, jax.tree.leaves(ours), strict=True):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        fixed = name.endswith("key/bias") or name == "time/frequencies"
        absolute.append(float(np.abs(found - expected).max()))
        relative.append(absolute[-1] / (largest if fixed else float(np.abs(expected).max())))
    count = sum(leaf.size for _, leaf in leaves)
    return Comparison(quantity, (count,), float(np.max(absolute)), float(np.max(relative)), GRADIENT)


def their_params(arrays: Arrays, prefix: str, size: NCSNppConfig = SMALL) -> Params:
    """The authors' parameters (or gradients) under a prefix; the fixed frequencies have no gradient."""
    state = {
        name.removeprefix(prefix): np.asarray(a) for name, a in arrays.items() if name.startswith(prefix)
    }
    state.setdefault("all_modules.0.W", np.zeros(size.channels, np.float32))
    return params_from_torch(state, size)


def jit(function: Callable) -> Any:
    """jit that compiles in a third of the time, into a slower program."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function, compiler_options=options)


def compile_model(model: ScoreModel, *names: str) -> Program:
    """Those methods of a model, for one item of 64 frames at a time."""
    spectrogram = jax.ShapeDtypeStruct((1, model.config.network.bins, 64), jnp.complex64)
    shapes = jax.eval_shape(model.init, jax.random.key(0)), spectrogram, spectrogram
    methods = jit(lambda *arguments: {name: getattr(model, name)(*arguments) for name in names})
    compiled = methods.lower(*shapes, jax.ShapeDtypeStruct((1,), jnp.float32)).compile()

    def program(params: Params, x_t: jax.Array, y: jax.Array, t: jax.Array) -> dict[str, jax.Array]:
        t = jnp.broadcast_to(t, len(x_t))
        with jax.disable_jit(False):  # also where a sampler runs step by step around it
            items = [compiled(params, *(a[i : i + 1] for a in (x_t, y, t))) for i in range(len(x_t))]
        return {name: jnp.concatenate([item[name] for item in items]) for name in names}

    return program
