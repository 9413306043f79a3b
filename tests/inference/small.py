"""A small student, and recordings for it."""

from pathlib import Path

import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel

STUDENT = ModelConfig(
    role="student",
    preconditioning=Preconditioning(c_in="1"),
    network=NCSNppConfig(channels=4, multipliers=(1, 1, 1, 1), blocks=1, attention_heights=()),
)
MODEL = ScoreModel(STUDENT)


def speech_like(samples: int, seed: int = 0) -> np.ndarray:
    """Noise whose level comes and goes, float32 [samples]."""
    generator = np.random.default_rng(seed)
    envelope = np.abs(np.sin(np.arange(samples) / 2000)) + 0.05
    return (0.1 * envelope * generator.standard_normal(samples)).astype(np.float32)


def write(path: Path, samples: int = 8000, seed: int = 0, **options) -> Path:
    """Such a recording as a file."""
    io.write(path, speech_like(samples, seed), 16_000, **options)
    return path


def outcomes(reports) -> dict[str, str]:
    """Map names of files to their statuses."""
    return {report.source.name: report.status for report in reports}
