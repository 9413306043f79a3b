"""What tests of the commands share: processes, small checkpoints, a cache of their programs."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from jax.experimental.compilation_cache import compilation_cache

from rosecd_jax import load_checkpoint, save_checkpoint
from rosecd_jax.audio.pcm import ENCODINGS
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.inference.stream_step import StreamConfig
from rosecd_jax.inference.streaming import StreamingEnhancer
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from tests.helpers import random_params

ROOT = Path(__file__).parents[1]
SMALL = ("--window-ms", "128", "--hop-ms", "32", "--look-ahead-ms", "16")
CONFIG = StreamConfig(window=16, hop=4, look_ahead=2)
LATENCY = (4 + 2 + 1 + 1) * 128 - 1
S16 = ENCODINGS["s16le"]


@contextlib.contextmanager
def kept_programs(folder: Path) -> Iterator[None]:
    """Programs compiled once are kept for all the commands inside, here and in other processes."""
    cache = {"jax_compilation_cache_dir": str(folder), "jax_persistent_cache_min_compile_time_secs": 0.0}
    before = {name: getattr(jax.config, name) for name in cache}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cache.items():
            patch.setenv(name.upper(), str(value))
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def save_student(folder: Path) -> Path:
    """A student of four levels, in which every weight counts."""
    network = NCSNppConfig(channels=4, multipliers=(1, 1, 1, 1), blocks=1, attention_heights=())
    model = ScoreModel(ModelConfig(role="student", network=network))
    return save_checkpoint(folder / "tiny", model, random_params(model))


def save_stream_student(folder: Path) -> Path:
    """A student of two levels, for streams."""
    model = ScoreModel(
        ModelConfig(
            role="student",
            preconditioning=Preconditioning(c_in="1"),
            network=NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1, attention_heights=()),
        )
    )
    return save_checkpoint(folder / "tiny", model, model.init(jax.random.key(0)))


def tone(samples: int = 8000, amplitude: float = 0.3) -> np.ndarray:
    """float32 [samples]."""
    return (amplitude * np.sin(np.arange(samples) / 9)).astype(np.float32)


def command(*words: object) -> list[str]:
    """rosecd enhance, as a process is started."""
    return [sys.executable, "-m", "rosecd_jax.cli", "enhance", *map(str, words)]


def run(*words: object, **options) -> subprocess.CompletedProcess[str]:
    """What it said, once it has ended."""
    return subprocess.run(command(*words), capture_output=True, text=True, cwd=ROOT, timeout=600, **options)


def wav(wave: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16", format: str = "WAV") -> bytes:
    """A file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, wave.T, rate, subtype, format=format)
    return file.getvalue()


def stream_input() -> np.ndarray:
    """float32 [1, samples] that 16 bits hold exactly."""
    return S16.decode(S16.encode(np.random.default_rng(0).uniform(-0.3, 0.3, (1, 10_000))), 1)


def stream_output(checkpoint: Path, wave: np.ndarray) -> np.ndarray:
    """Return the output of the library's stream, aligned with the input; [samples]."""
    stream = StreamingEnhancer(*load_checkpoint(checkpoint), config=CONFIG)
    return np.concatenate([stream.push(wave)[0], stream.flush()])[stream.latency :]
