"""Real training runs in processes of their own: a small corpus, a config file, and a run's files."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from rosecd_jax.audio import io

ROOT = Path(__file__).parents[2]
RATE = 16_000

CONFIG = '''
"""A run of a few seconds."""

from rosecd_jax.audio import FrontEnd
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion import OUVE
from rosecd_jax.models import ModelConfig, NCSNppConfig
from rosecd_jax.config import to_dict
from rosecd_jax.training import CheckpointConfig, OptimizerConfig, TrainConfig, ValidationConfig
from ml_collections import ConfigDict

NETWORK = NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1, attention_heights=(), bins=32)


def get_config():
    return ConfigDict(to_dict(TrainConfig(
        model=ModelConfig(front_end=FrontEnd(n_fft=62, hop=16), sde=OUVE(steps=2), network=NETWORK),
        data=LoaderConfig(frames=16, batch_size=4),
        optimizer=OptimizerConfig(learning_rate=3e-3),
        validation=ValidationConfig(every=8, files=2, examples=1, workers=1),
        checkpoints=CheckpointConfig(every=3),
        steps=24,
        log_every=1,
    )))
'''


def write_corpus(folder: Path, files: int = 9, splits: tuple[str, ...] = ("train", "valid")) -> Path:
    """Pairs of 0.5 s or a little more: tones that come and go, and noise."""
    generator = np.random.default_rng(0)
    for split in splits:
        for k in range(files if split == "train" else 3):
            samples = 8_000 + 50 * k
            clean = 0.2 * np.sin(np.arange(samples) / (4 + k)) * np.sin(np.arange(samples) / 900)
            noisy = clean + 0.05 * generator.normal(size=samples)
            for side, wave in (("clean", clean), ("noisy", noisy)):
                io.write(folder / split / side / f"{k}.wav", wave, RATE, subtype="FLOAT")
    return folder


def write_config(folder: Path) -> Path:
    """The file of a small run."""
    file = folder / "small.py"
    file.write_text(CONFIG)
    return file


def start(
    config: Path, corpus: Path, workdir: Path, *overrides: str, log: Path, **environment: str
) -> "subprocess.Popen[str]":
    """`python train.py`, its output appended to `log`; compiled programs are kept beside the config."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(config.parent / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONUNBUFFERED": "1",
    }
    words = [f"--config={config}", f"--workdir={workdir}", f"--config.data.path={corpus}", *overrides]
    with open(log, "a") as output:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | cache | environment,
            cwd=ROOT,
            text=True,
        )


def finish(process: "subprocess.Popen[str]", log: Path, seconds: float = 240) -> str:
    """Wait for the end of a process that has to succeed; returns its log."""
    code = process.wait(timeout=seconds)
    assert code == 0, log.read_text()[-4000:]
    return log.read_text()


def last_step(workdir: Path) -> dict[str, Any]:
    """Everything in the last checkpoint: every array by its path, and the run's progress as JSON."""
    steps = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    folder = workdir / "checkpoints" / str(steps[-1])
    content: dict[str, Any] = {"step": steps[-1]}
    for item in ("raw", "ema", "optimiser"):
        checkpointer = ocp.PyTreeCheckpointer()
        shapes = checkpointer.metadata(folder / item).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
        leaves = ocp.tree.to_flat_dict(checkpointer.restore(folder / item, restore_args=as_numpy))
        content |= {f"{item}/{'/'.join(map(str, path))}": np.asarray(leaf) for path, leaf in leaves.items()}
    content["progress"] = json.loads((folder / "progress" / "metadata").read_text())
    return content


def assert_equal(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Bit for bit."""
    assert left.keys() == right.keys()
    assert sum(name.startswith("raw/") for name in left) > 20
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)
