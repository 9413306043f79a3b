"""Initial weights, drawn by NumPy on the host: without compilation, and equal on every backend."""

import contextvars
import functools
import zlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Key

from rosecd_jax.arrays import Array

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""(generator, shape) -> the initial value, float32."""


_declaring = contextvars.ContextVar("declaring", default=False)
"""Whether initializers return a `Parameter`, for `initial_params`, instead of the usual array."""


@flax.struct.dataclass
class Parameter(nn.meta.AxisMetadata[Any]):
    """A parameter's shape and initialization; inside its module, Flax unboxes it to the plain array.

    Attributes:
      value: the shape.
      draw: makes the initial value.
    """

    value: Any
    draw: Draw = flax.struct.field(pytree_node=False)

    def unbox(self) -> Any:
        return self.value

    def replace_boxed(self, val: Any) -> "Parameter":
        return self.replace(value=val)  # pyright: ignore[reportAttributeAccessIssue]

    def add_axis(self, index: int, params: Any) -> "Parameter":
        del index, params
        return self

    def remove_axis(self, index: int, params: Any) -> "Parameter":
        del index, params
        return self


def drawn(draw: Draw) -> nn.initializers.Initializer:
    """Return a Flax initializer whose values `draw` makes, seeded by Flax's key for the parameter."""

    def initializer(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
        def on_host(words: np.ndarray) -> np.ndarray:
            return draw(np.random.default_rng(np.asarray(words)), shape).astype(dtype)

        result = jax.ShapeDtypeStruct(shape, dtype)
        words = jax.random.key_data(key)
        value = jax.pure_callback(on_host, result, words, vmap_method="sequential")
        return Parameter(value, draw) if _declaring.get() else value  # pyright: ignore[reportCallIssue]

    return initializer


def constant(value: float) -> nn.initializers.Initializer:
    """Initialize every element with `value`."""
    return drawn(functools.partial(_constant, value))


def normal(deviation: float) -> nn.initializers.Initializer:
    """Initialize with a normal distribution around zero."""
    return drawn(functools.partial(_normal, deviation))


def uniform(scale: float = 1.0, fan: str = "average") -> nn.initializers.Initializer:
    """Initialize uniformly with variance `scale` / fan (He et al. 2015, arXiv 1502.01852).

    Args:
      scale: 0 means almost zero, so that a block starts as identity.
      fan: "in", or "average" of fan-in and fan-out, as in NCSN++.
    """
    return drawn(functools.partial(_uniform, scale or 1e-10, fan))


def _constant(value: float, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    del generator
    return np.full(shape, value, np.float32)


def _normal(deviation: float, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.float32(deviation) * generator.standard_normal(shape, np.float32)


def _uniform(scale: float, fan: str, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    fan_in, fan_out = (np.prod(shape[:-2]) * channels for channels in shape[-2:])
    limit = np.sqrt(3 * scale / (fan_in if fan == "in" else (fan_in + fan_out) / 2))
    return np.float32(limit) * (2 * generator.random(shape, np.float32) - 1)


@functools.lru_cache(maxsize=32)
def _declared(network: nn.Module, inputs: tuple[jax.ShapeDtypeStruct, ...]) -> tuple[Any, Any]:
    """Return the paths and declarations of a network's parameters, and the structure of their tree."""
    token = _declaring.set(True)
    try:  # a new function, since traces are cached
        declared = jax.eval_shape(lambda *args: network.init(*args), jax.random.key(0), *inputs)["params"]
    finally:
        _declaring.reset(token)
    return jax.tree_util.tree_flatten_with_path(declared, is_leaf=lambda x: isinstance(x, Parameter))


def initial_params(network: nn.Module, key: Key[Array, ""], *inputs: jax.ShapeDtypeStruct) -> Any:
    """Initialize a network's parameters, a nested dict of float32 arrays; pure.

    Each depends only on the key and the parameter's name, so that adding one doesn't change the others.

    Args:
      network: has to declare all its parameters with initializers of this module.
      key: the same key gives the same parameters on every backend.
      inputs: shapes of the network's arguments.
    """
    paths, tree = _declared(network, inputs)
    shapes = tree.unflatten([parameter.value for _, parameter in paths])

    def on_host(words: np.ndarray) -> Any:
        values = []
        for path, parameter in paths:
            name = "/".join(str(part.key) for part in path)
            seed = [*np.asarray(words).tolist(), zlib.crc32(name.encode())]
            values.append(parameter.draw(np.random.default_rng(seed), parameter.value.shape))
        return tree.unflatten(values)

    return jax.pure_callback(on_host, shapes, jax.random.key_data(key), vmap_method="sequential")
