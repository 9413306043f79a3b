"""The authors' parameter names <-> ours.

Their network is one flat list, `all_modules.N`, in the order of construction; ours is a tree of named blocks.
Walking both in the same order pairs every tensor. PyTorch stores convolutions as [out, in, height, width]
and dense layers as [out, in]; ours are [height, width, in, out] and [in, out].
"""

from collections.abc import Iterator, Mapping

import numpy as np

from rosecd_jax.models.ncsnpp import NCSNppConfig

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
    """Our block names in the order of their list, each with its map of inner names."""
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
        yield f"up_{level}_pyramid_norm", {"": ("", _NORM)}
        yield f"up_{level}_pyramid", {"": ("", _LAYER)}
        if level != 0:
            yield residual(f"up_{level}_resample", width, width, resample=True)


def parameter_names(config: NCSNppConfig) -> dict[str, str]:
    """Their name -> our path ("a/b/c"), for every parameter of a network of this size, in their order."""
    names = {"output_layer.weight": "output/kernel", "output_layer.bias": "output/bias"}
    for index, (block, inner) in enumerate(_modules(config)):
        for theirs, (ours, leaves) in inner.items():
            for their_leaf, our_leaf in leaves.items():
                name = ".".join(part for part in (f"all_modules.{index}", theirs, their_leaf) if part)
                names[name] = "/".join(part for part in (block, ours, our_leaf) if part)
    return names


def params_from_torch(state: Mapping[str, np.ndarray], config: NCSNppConfig) -> dict:
    """Their state dict (numpy arrays, names without a "dnn." prefix) -> our parameter tree.

    Raises:
      ValueError: naming the parameters that are missing or unknown.
    """
    names = parameter_names(config)
    missing, unknown = names.keys() - state.keys(), state.keys() - names.keys()
    if missing or unknown:
        raise ValueError(f"parameters missing: {sorted(missing)[:5]}, unknown: {sorted(unknown)[:5]}")
    params: dict = {}
    for theirs, ours in names.items():
        *path, leaf = ours.split("/")
        node = params
        for part in path:
            node = node.setdefault(part, {})
        array = np.asarray(state[theirs])
        if theirs.endswith("weight") and array.ndim > 1:
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        node[leaf] = np.ascontiguousarray(array, dtype=np.float32)
    return params
