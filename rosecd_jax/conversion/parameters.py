"""Conversion of the authors' parameters to and from ours.

Their network is one flat list, `all_modules.N`, in the order of construction; ours is a tree of named blocks.
Iterating over both in the same order pairs every tensor. PyTorch stores convolutions as [out, in, height,
width] and dense layers as [out, in]; Flax as [height, width, in, out] and [in, out].
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.models.ncsnpp import NCSNpp, NCSNppConfig

_NORM = {"weight": "scale", "bias": "bias"}
_LAYER = {"weight": "kernel", "bias": "bias"}
_NIN = {"W": "kernel", "b": "bias"}

_RESIDUAL = {
    "GroupNorm_0": ("norm_0", _NORM),
    "Conv_0": ("conv_0", _LAYER),
    "Dense_0": ("dense", _LAYER),
    "GroupNorm_1": ("norm_1", _NORM),
    "Conv_1": ("conv_1", _LAYER),
}
_SHORTCUT = {"Conv_2": ("shortcut", _LAYER)}
_ATTENTION = {
    "GroupNorm_0": ("norm", _NORM),
    "NIN_0": ("query", _NIN),
    "NIN_1": ("key", _NIN),
    "NIN_2": ("value", _NIN),
    "NIN_3": ("out", _NIN),
}


def _modules(config: NCSNppConfig) -> Iterator[tuple[str, dict]]:
    """Iterate over our block names in the order of the authors' list, each with its map of inner names."""
    widths = [config.channels * multiplier for multiplier in config.multipliers]
    attends = [height in config.attention_heights for height in config.heights]
    last = len(widths) - 1

    def residual(name: str, width_in: int, width_out: int, resample: bool = False) -> tuple[str, dict]:
        return name, _RESIDUAL | (_SHORTCUT if resample or width_in != width_out else {})

    yield "time", {"W": ("", {"": "frequencies"})}
    yield "time/dense_0", {"": ("", _LAYER)}
    yield "time/dense_1", {"": ("", _LAYER)}
    yield "input", {"": ("", _LAYER)}
    width, skips = config.channels, [config.channels]
    for level, features in enumerate(widths):
        for block in range(config.blocks):
            yield residual(f"down_{level}_block_{block}", width, features)
            width = features
            if attends[level]:
                yield f"down_{level}_attention_{block}", _ATTENTION
            skips.append(width)
        if level != last:
            yield residual(f"down_{level}_resample", width, width, resample=True)
            if config.pyramids:
                yield f"down_{level}_pyramid", {"Conv_0": ("", _LAYER)}
            skips.append(width)
    yield residual("middle_block_0", width, width)
    yield "middle_attention", _ATTENTION
    yield residual("middle_block_1", width, width)
    for level in reversed(range(len(widths))):
        for block in range(config.blocks + 1):
            yield residual(f"up_{level}_block_{block}", width + skips.pop(), widths[level])
            width = widths[level]
        if attends[level]:
            yield f"up_{level}_attention", _ATTENTION
        if config.pyramids or level == 0:
            yield f"up_{level}_pyramid_norm", {"": ("", _NORM)}
            yield f"up_{level}_pyramid", {"": ("", _LAYER)}
        if level != 0:
            yield residual(f"up_{level}_resample", width, width, resample=True)


def parameter_names(config: NCSNppConfig) -> dict[str, str]:
    """Map the authors' names to our paths ("a/b/c"), for all parameters of a network, in their order."""
    names = {"output_layer.weight": "output/kernel", "output_layer.bias": "output/bias"}
    for index, (block, inner) in enumerate(_modules(config)):
        for theirs, (ours, leaves) in inner.items():
            for their_leaf, our_leaf in leaves.items():
                name = ".".join(part for part in (f"all_modules.{index}", theirs, their_leaf) if part)
                names[name] = "/".join(part for part in (block, ours, our_leaf) if part)
    return names


@functools.lru_cache(maxsize=8)
def parameter_shapes(config: NCSNppConfig) -> dict[str, tuple[int, ...]]:
    """Map the authors' names to the shapes they store, for all parameters of a network."""
    x = jax.ShapeDtypeStruct((1, config.bins, config.stride, 4), jnp.float32)
    t = jax.ShapeDtypeStruct((1,), jnp.float32)
    variables = jax.eval_shape(NCSNpp(config).init, jax.random.key(0), x, t)
    shapes = {}
    for theirs, ours in parameter_names(config).items():
        shape = functools.reduce(lambda node, part: node[part], ours.split("/"), variables["params"]).shape
        shapes[theirs] = tuple(shape[axis] for axis in _their_axes(theirs, len(shape)))
    return shapes


def _their_axes(name: str, dimensions: int) -> tuple[int, ...]:
    """Return our axes in the authors' order; attention's dense layers (`W`) have our order."""
    if not name.endswith("weight"):
        return tuple(range(dimensions))
    return {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[dimensions]


def check_state(state: Mapping[str, Any], config: NCSNppConfig) -> None:
    """Check that a state dict of the authors fits a network; arguments as in `params_from_torch`.

    Raises:
      ValueError: naming the parameters that are missing or unknown, or the one of a wrong shape or dtype.
    """
    names = parameter_names(config)
    missing, unknown = names.keys() - state.keys(), state.keys() - names.keys()
    if missing or unknown:
        raise ValueError(f"parameters missing: {_some(missing)}, unknown: {_some(unknown)}")
    for name, shape in parameter_shapes(config).items():
        found = state[name]
        if tuple(found.shape) != shape:
            raise ValueError(f"parameter {name} is {tuple(found.shape)}, the network expects {shape}")
        if not jnp.issubdtype(found.dtype, jnp.floating):
            raise ValueError(f"parameter {name} holds {found.dtype}, expected floating-point numbers")


def _some(names: Iterable[str]) -> list[str]:
    """Shorten a list of names, which may be long or many, for messages."""
    return [name[:100] for name in sorted(names)[:5]]


def params_from_torch(state: Mapping[str, Any], config: NCSNppConfig) -> dict:
    """Convert the authors' state dict to our parameter tree.

    Args:
      state: names without the "dnn." prefix; numpy arrays, or tensors of a file, which are read one by one.
      config: config of the network.

    Returns:
      A tree of float32 numpy arrays, as in Flax.

    Raises:
      ValueError: naming the parameters that are missing or unknown, or the one of a wrong shape or dtype.
    """
    check_state(state, config)
    params: dict = {}
    for theirs, ours in parameter_names(config).items():
        *path, leaf = ours.split("/")
        node = params
        for part in path:
            node = node.setdefault(part, {})
        array = np.asarray(state[theirs])
        axes = np.argsort(_their_axes(theirs, array.ndim))
        # Always copy: the array may be a view of a large buffer.
        node[leaf] = np.array(array.transpose(axes), dtype=np.float32, order="C")
    return params


def params_to_torch(params: Mapping[str, Any], config: NCSNppConfig) -> dict[str, np.ndarray]:
    """Invert `params_from_torch`; names lack the "dnn." prefix, and are in the authors' order.

    Raises:
      ValueError: naming the parameters that are missing or unknown, or the one of a wrong shape.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    ours = {"/".join(str(getattr(part, "key", part)) for part in path): leaf for path, leaf in leaves}
    names, shapes = parameter_names(config), parameter_shapes(config)
    missing, unknown = set(names.values()) - ours.keys(), ours.keys() - set(names.values())
    if missing or unknown:
        raise ValueError(f"parameters missing: {_some(missing)}, unknown: {_some(unknown)}")
    state = {}
    for theirs, name in names.items():
        axes = _their_axes(theirs, len(shapes[theirs]))
        array = np.asarray(ours[name], dtype=np.float32)
        expected = tuple(shapes[theirs][axis] for axis in np.argsort(axes))
        if array.shape != expected:
            raise ValueError(f"parameter {name} is {array.shape}, the network expects {expected}")
        state[theirs] = np.ascontiguousarray(array.transpose(axes))
    return state
