"""Export of a model to a folder that runs with JAX alone: StableHLO from wave to wave, and the weights.

program.mlirbc   StableHLO, a portable artifact: for every platform, any length and batch
weights.npz      the program's first argument
meta.json        description of the model and of the program's arguments
load.py          the loader, `load_exported.py`
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from rosecd_jax.atomic import existing_part, replacing_folder
from rosecd_jax.config import to_dict
from rosecd_jax.export import load_exported
from rosecd_jax.models.enhancement import (
    BUCKETS,
    FRAMES,
    SamplerConfig,
    enhance_padded,
    padded_frames,
    signal_key,
)
from rosecd_jax.models.score_model import Params, ScoreModel

PLATFORMS = ("cpu", "cuda", "tpu")
KNOWN_PLATFORMS = (*PLATFORMS, "rocm")
AUTO = SamplerConfig()
FORMAT = 1
"""Format version of the folder; increased if older loaders can't read it."""
PROGRAM, WEIGHTS, META, LOADER = "program.mlirbc", "weights.npz", "meta.json", "load.py"
BYTECODE = "__pycache__"
"""Folder that Python creates next to the loader."""


class ExportError(ValueError):
    """Error for a model that can't be exported; the message names the remedy."""


def export_model(
    path: str | os.PathLike,
    model: ScoreModel,
    params: Params,
    sampler: SamplerConfig = AUTO,
    *,
    platforms: Sequence[str] = PLATFORMS,
    overwrite: bool = False,
) -> Path:
    """Write a folder that enhances with JAX alone, atomically.

    The same model, sampler and version of JAX give the same bytes, without traces of the machine.

    Args:
      path: folder to write; links are followed.
      sampler: sampler that is compiled into the program.
      platforms: platforms the program can run on, any of "cpu", "cuda", "tpu" and "rocm"; they needn't be
        present.
      overwrite: replace an exported model, and nothing else; a failure leaves it unchanged.

    Returns:
      The path.

    Raises:
      ExportError: if a platform is unknown, or the path is taken.
      ValueError: if the sampler doesn't fit the model.
    """
    path = Path(path)
    check_target(path, overwrite)
    sampler = sampler.resolve(model)
    platforms = check_platforms(platforms)
    weights = {name: np.asarray(array) for name, array in flatten_dict(params, sep="/").items()}
    exported = lower(model, sampler, weights, platforms)
    with replacing_folder(path) as temporary:
        temporary.mkdir()
        (temporary / PROGRAM).write_bytes(exported.mlir_module_serialized)
        np.savez(temporary / WEIGHTS, **weights)  # type: ignore[arg-type]
        shutil.copyfile(load_exported.__file__, temporary / LOADER)
        meta = describe(model, sampler, exported) | {"sha256": hashes(temporary)}
        (temporary / META).write_text(json.dumps(meta, indent=2) + "\n")
    return path


def check_target(path: Path, overwrite: bool) -> None:
    """Check in advance whether a model can be exported to `path`.

    Raises:
      ExportError: if it can't.
    """
    folder = Path(os.path.realpath(path))
    above = existing_part(folder.parent)
    if not above.is_dir():
        raise ExportError(f"{path} can't be made: {above} is a file")
    for written in (above, folder):
        if written.is_dir() and not os.access(written, os.W_OK | os.X_OK):
            raise ExportError(f"{path} can't be made: {written} can't be written to; choose another path")
    if folder.is_file():
        raise ExportError(f"{path} is a file; an exported model is a folder, choose another path")
    if not folder.exists():
        return
    if folder.samefile("."):
        raise ExportError(
            f"{path} is the current folder, which can't be replaced from inside; go to another (cd ..)"
        )
    if not overwrite:
        raise ExportError(f"{path} exists; choose another path or overwrite it (--overwrite)")
    found = {file.name for file in folder.iterdir()}
    if found and PROGRAM not in found:
        raise ExportError(f"{path} is a folder, but not an exported model; choose another path")
    others = sorted(found - {PROGRAM, WEIGHTS, META, LOADER, BYTECODE})
    if others:
        names = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if others[5:] else "")
        raise ExportError(
            f"{path} is an exported model, but also holds {names}, which overwriting would delete; "
            "move that out of the folder, or choose another path"
        )


def check_platforms(platforms: Sequence[str]) -> tuple[str, ...]:
    """Return the platforms without duplicates.

    Raises:
      ExportError: if there are none, or one is unknown.
    """
    unknown = [name for name in platforms if name not in KNOWN_PLATFORMS]
    if unknown or not platforms:
        words = f"platform {unknown[0]!r}" if unknown else "no platform"
        raise ExportError(f"{words}: expected some of {', '.join(KNOWN_PLATFORMS)}")
    return tuple(name for name in KNOWN_PLATFORMS if name in platforms)


def lower(
    model: ScoreModel,
    sampler: SamplerConfig,
    weights: Mapping[str, Any],
    platforms: Sequence[str] = PLATFORMS,
) -> jax.export.Exported:
    """Lower a model's program, from waves to waves, to StableHLO.

    Args:
      sampler: a resolved sampler.
      weights: the parameters by name, as {"block/layer/kernel": array}; shapes and dtypes are enough.
      platforms: as for `export_model`.

    Returns:
      A program of (weights, wave float32 [batch, block · blocks], lengths int32 [batch], seed uint32 [])
      -> float32 [batch, block · blocks]: `enhance_padded` with `signal_key(seed)` for each. `batch` and
      `blocks` are symbolic; `block` is `block_samples(model)`.

    Raises:
      ExportError: if a platform is unknown.
    """
    platforms = check_platforms(platforms)

    def enhance(weights, wave, lengths, seed):
        keys = jnp.broadcast_to(signal_key(seed), lengths.shape)
        return enhance_padded(model, sampler, unflatten_dict(weights, sep="/"), wave, lengths, keys)

    batch, blocks = jax.export.symbolic_shape("batch, blocks")
    wave = jax.ShapeDtypeStruct((batch, block_samples(model) * blocks), jnp.float32)
    numbers = jax.ShapeDtypeStruct((batch,), jnp.int32)
    seed = jax.ShapeDtypeStruct((), jnp.uint32)
    # Unused arguments (a bridge's ODE has no noise) are kept, so that all programs have one signature.
    program = jax.jit(enhance, keep_unused=True)
    with _no_source_locations():
        return jax.export.export(program, platforms=platforms)(
            {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()},
            wave,
            numbers,
            seed,
        )


@contextmanager
def _no_source_locations() -> Iterator[None]:
    """Keep paths of this machine out of lowered programs."""
    option = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, option)
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)


def block_samples(model: ScoreModel) -> int:
    """Return the divisor of a buffer's length in samples: 64 frames, or the network's stride if larger."""
    return max(FRAMES, model.config.stride) * model.front_end.hop


def describe(model: ScoreModel, sampler: SamplerConfig, exported: jax.export.Exported) -> dict[str, Any]:
    """Return the content of `meta.json`; JSON values."""
    stride = model.config.stride
    return {
        "format": FORMAT,
        "sample_rate": model.front_end.sample_rate,
        "block": block_samples(model),
        "lengths": sorted({padded_frames(frames, stride) * model.front_end.hop for frames in BUCKETS}),
        "platforms": list(exported.platforms),
        "calling_convention_version": exported.calling_convention_version,
        "jax": jax.__version__,
        "call": {
            "weights": "the arrays of weights.npz by name",
            "wave": "float32 [batch, a multiple of block], at the sample rate; zeros after the signal",
            "lengths": "int32 [batch]: samples of the signal, less than the buffer's",
            "seed": "uint32 []: determines the noise, the same for all signals",
            "result": "float32 of the wave's shape; only the first `lengths` samples are valid",
        },
        "sampler": to_dict(sampler),
        "model": to_dict(model.config),
    }


def hashes(folder: Path) -> dict[str, str]:
    """Compute the SHA-256 of every file of a folder."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}
