"""Add a trained model to the package: averaged weights, as float16.

    python -m benchmarks.ship NAME RUN... [--weights W...]

NAME is `small` for the student, `small-teacher` for its teacher. RUN is the directory of a run, of a step or
of a model; for several, the weighted mean is stored. Prints the size, and how much rounding to float16
changes the output of one network call.
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
    parser.add_argument("name")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        help="Weight of each run, with a sum of 1; default: equal weights.",
    )
    arguments = parser.parse_args()
    loaded = [load_checkpoint(run) for run in arguments.runs]
    weights = arguments.weights or [1 / len(loaded)] * len(loaded)
    if len(weights) != len(loaded) or len({model for model, _ in loaded}) > 1:
        raise SystemExit("give a weight for each run, and runs of one model")
    model = loaded[0][0]
    params = jax.tree.map(
        lambda *leaves: sum(weight * leaf for weight, leaf in zip(weights, leaves, strict=True)),
        *(tree for _, tree in loaded),
    )
    half = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), params)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(half)):
        raise SystemExit("the weights are too large for float16")
    base, _, role = arguments.name.partition("-")
    folder = FOLDER / base / (role or "student")
    save_checkpoint(folder, model, half, overwrite=True)
    for mark in folder.rglob("commit_success.txt"):  # they contain the path where orbax wrote them
        mark.unlink()

    keys = jax.random.split(jax.random.key(0))
    shape = 1, model.config.network.bins, 2 * model.config.network.stride
    y, x = (0.1 * jax.random.normal(key, shape, jnp.complex64) for key in keys)
    one, other = (model.denoise(p, x, y, jnp.ones(1)) for p in (params, load_checkpoint(folder)[1]))
    moved = 20 * np.log10(np.linalg.norm(one - other) / np.linalg.norm(one))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    print(f"{folder}: {size:.1f} MB; float16 changes the output by {moved:.0f} dB")


if __name__ == "__main__":
    main()
