"""The committed arrays, read and written in fewer bytes and without loss.

In a file a name may carry what was done to its array:

  name             as it is
  name:float32     the bytes in four planes, sign and exponent first, which compress better
  name:complex64   the same, the real and imaginary parts next to each other in the last axis
  name:noise       [seed, position, scale]: scale times PyTorch's normal numbers from that position of the
                   seed's stream, plus the units in the last place in name:ulps
"""

import functools
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.goldens.torch_random import F32, TorchRandom

HERE = Path(__file__).parent
STREAM = 600_000
"""As many numbers as the start of a network draws."""
MOST = 128
"""Entries that are kept of a parameter's gradient, besides its largest."""
Arrays = dict[str, np.ndarray]


@functools.cache
def golden(name: str) -> Arrays:
    """The arrays of a committed file by their names; spectrograms are [batch, frequency, frame]."""
    with np.load(HERE / f"{name}.npz") as file:
        packed = dict(file)
    found = {}
    for key, array in packed.items():
        plain, _, how = key.partition(":")
        if how in ("float32", "complex64"):
            found[plain] = from_planes(array).view(how)
        elif how == "noise":
            ulps = packed[f"{plain}:ulps"]
            found[plain] = corrected(noise(array, ulps.shape), ulps).view(np.complex64)
        elif not how:
            found[plain] = array
    return found


def noise(parameters: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[seed, position, scale] -> float32."""
    seed, start, scale = parameters
    return F32(scale) * TorchRandom(int(seed), int(start)).normal(int(np.prod(shape))).reshape(shape)


def ulps(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How many float32 numbers lie between, in as few bytes as all of them need."""
    difference = actual.view(np.int32) - predicted.view(np.int32)
    return difference.astype(np.int8) if np.abs(difference).max() < 128 else difference


def corrected(predicted: np.ndarray, difference: np.ndarray) -> np.ndarray:
    return (predicted.view(np.int32) + difference.astype(np.int32)).view(F32)


def to_planes(array: np.ndarray) -> np.ndarray:
    """Four-byte numbers [..., n] as bytes [4, ..., n]."""
    words = np.ascontiguousarray(array).view(np.uint32)
    rotated = (words << 1 | words >> 31).astype("<u4")
    return np.stack([(rotated >> shift).astype(np.uint8) for shift in (24, 16, 8, 0)])


def from_planes(planes: np.ndarray) -> np.ndarray:
    rotated = sum(plane.astype(np.uint32) << s for plane, s in zip(planes, (24, 16, 8, 0), strict=True))
    return (rotated >> 1 | rotated << 31).view(F32)


# Networks. A parameter was drawn by its layer from a seed's stream, uniformly or as a constant; 0.05 times
# normal numbers of the next seed were added to all but the fixed frequencies, so that every wire counts.


@functools.cache
def network(name: str) -> tuple[Arrays, Arrays]:
    """The weights and the averaged weights of a network, by the authors' parameter names."""
    with np.load(HERE / "networks.npz") as file:
        parts = {key.partition("/")[2]: file[key] for key in file if key.startswith(f"{name}/")}
        layout = file[f"{parts['layout']}.json"].tobytes()
    raw, averaged = predict(json.loads(layout), *parts["seed"], parts["frequencies"])  # seed and decay
    weights = split(json.loads(layout), corrected(raw, from_planes(parts["weights"]).view(np.int32)))
    if "averages" not in parts:
        return weights, {}
    averages = corrected(averaged, from_planes(parts["averages"]).view(np.int32))
    return weights, split(json.loads(layout), averages)


def predict(layout: list, seed: int, decay: float, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and averages decay · start + (0.01 where it decays); flat, before their corrections.

    Args:
      layout: [name, shape, start in the stream, scale] of each parameter; without a start, all are the scale.
    """
    stream, added = TorchRandom(int(seed)).uniform(STREAM).astype(F32), TorchRandom(int(seed) + 1)
    weights, averages = [], []
    for name, shape, start, scale in layout:
        count = int(np.prod(shape))
        if name.endswith(".0.W"):
            initial = weight = frequencies
        else:
            initial = np.full(count, scale, F32)
            if start is not None:
                initial = (stream[start : start + count] * F32(2) - F32(1)) * F32(scale)
            weight = initial + F32(0.05) * added.normal(count)
        weights.append(weight)
        averages.append(F32(decay) * initial + F32(0.01) if decay != 1 else initial)
    return np.concatenate(weights), np.concatenate(averages)


def split(layout: list, flat: np.ndarray) -> Arrays:
    counts = [int(np.prod(shape)) for _, shape, _, _ in layout]
    parts = np.split(flat, np.cumsum(counts)[:-1])
    return {name: part.reshape(shape) for (name, shape, *_), part in zip(layout, parts, strict=True)}


def checkpoint(name: str) -> bytes:
    """The authors' checkpoint, byte for byte: a file without its tensors, and the tensors."""
    with np.load(HERE / "checkpoints.npz") as file:
        data, places = bytearray(file[name].tobytes()), file[f"{name}/places"]
    arrays = [array for weights in network(name) for array in weights.values()]
    for start, array in zip(places, arrays, strict=True):
        data[start : start + array.nbytes] = array.tobytes()
    return bytes(data)


# Gradients.


def kept(gradient: np.ndarray, largest: int) -> np.ndarray:
    """At most 128 entries of a gradient at equal distances, and its largest."""
    flat = np.asarray(gradient).ravel()
    chosen = np.unique(np.append(np.arange(0, flat.size, -(-flat.size // MOST)), largest))
    return flat[chosen]


def chosen_gradients(name: str, prefix: str, gradients: Mapping[str, Any]) -> tuple[Arrays, Arrays]:
    """(ours, theirs) of the entries that are kept, by the authors' parameter names."""
    file = golden(name)
    ours = {
        key: kept(gradients[key], place)
        for key, place in zip(gradient_names(gradients), file[f"{prefix}largest"], strict=True)
    }
    ends = np.cumsum([array.size for array in ours.values()])
    assert ends[-1] == file[f"{prefix}entries"].size
    return ours, dict(zip(ours, np.split(file[f"{prefix}entries"], ends[:-1]), strict=True))


def gradient_names(gradients: Mapping[str, Any]) -> list[str]:
    """Of all parameters but the fixed frequencies, which have no gradient."""
    return sorted(name for name in gradients if not name.endswith(".0.W"))


def save(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a file; the same arrays give the same bytes."""
    with zipfile.ZipFile(HERE / f"{name}.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key, array in arrays.items():
            entry = zipfile.ZipInfo(f"{key}.npy")  # which has a fixed date
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
