"""Put a trained model into the package: its averaged weights, as float16.

    python -m benchmarks.ship RUN NAME [--step N]

RUN is a run's or a model's directory; NAME is `small` for the student, `small-teacher` for its teacher.
Prints the size, and how far the rounding to float16 moves the output of one network call.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.models.checkpoint import load_checkpoint, save_checkpoint
from rosecd_jax.pretrained import FOLDER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--step", type=int, help="of a run; its last one unless given")
    arguments = parser.parse_args()
    path = arguments.run / "checkpoints" / str(arguments.step) if arguments.step else arguments.run
    model, params = load_checkpoint(path)
    half = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), params)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(half)):
        raise SystemExit(f"{path}: weights are too large for float16")
    base, _, role = arguments.name.partition("-")
    folder = FOLDER / base / (role or "student")
    save_checkpoint(folder, model, half, overwrite=True)

    keys = jax.random.split(jax.random.key(0))
    shape = 1, model.config.network.bins, 2 * model.config.network.stride
    y, x = (0.1 * jax.random.normal(key, shape, jnp.complex64) for key in keys)
    one, other = (model.denoise(p, x, y, jnp.ones(1)) for p in (params, load_checkpoint(folder)[1]))
    moved = 20 * np.log10(np.linalg.norm(one - other) / np.linalg.norm(one))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    print(f"{path} -> {folder}: {size:.1f} MB; float16 moves the output by {moved:.0f} dB")


if __name__ == "__main__":
    main()
