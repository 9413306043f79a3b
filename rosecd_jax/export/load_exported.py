"""Loader of an exported model that needs only JAX; load.py in the model's folder is a copy of this file.

from exported.load import load
clean = load()(wave, seed=0)

`jax.export.deserialize` is not used: it needs flatbuffers, which JAX does not install, and its format changes
more often than the module in it. Instead, the module is put into a public field of an `Exported`.
"""

import dataclasses
import json
import operator
from pathlib import Path

import jax.export
import numpy as np


def load(folder=Path(__file__).parent):
    """Return enhance(wave, seed) for float32 [samples] or [channels, samples] at enhance.sample_rate."""
    meta = json.loads(Path(folder, "meta.json").read_text())
    weights = jax.device_put(dict(np.load(Path(folder, "weights.npz"))))
    batch, blocks = jax.export.symbolic_shape("batch, blocks")
    wave = jax.ShapeDtypeStruct((batch, meta["block"] * blocks), np.float32)
    numbers, seed = jax.ShapeDtypeStruct((batch,), np.int32), jax.ShapeDtypeStruct((), np.uint32)
    # A program of the same type, whose module is then replaced by the stored one.
    same_type = jax.jit(lambda weights, wave, lengths, seed: wave, keep_unused=True)
    typed = jax.export.export(same_type, platforms=meta["platforms"])(weights, wave, numbers, seed)
    module = Path(folder, "program.mlirbc").read_bytes()
    run = jax.jit(dataclasses.replace(typed, mlir_module_serialized=module).call)

    def enhance(wave, seed=0):
        rows = np.atleast_2d(np.asarray(wave))
        samples = rows.shape[-1]
        fits = np.ndim(wave) in (1, 2) and rows.size > 0 and len(rows) <= max(1024, samples)
        if not fits or np.iscomplexobj(rows) or not np.isfinite(rows := rows.astype(np.float32)).all():
            raise ValueError(f"wave of {np.shape(wave)}: expected finite [samples] or [channels, samples]")
        whole_blocks = meta["block"] * (samples // meta["block"] + 1)
        length = next((length for length in meta["lengths"] if length > samples), whole_blocks)
        padded = np.pad(rows, ((0, 0), (0, length - samples)))[:, None]
        samples_of, seed = np.array([samples], np.int32), np.uint32(operator.index(seed) % 2**32)
        clean = [run(weights, row, samples_of, seed) for row in padded]
        return np.concatenate(clean)[:, :samples].reshape(np.shape(wave))

    enhance.sample_rate = meta["sample_rate"]  # type: ignore[attr-defined]
    return enhance
