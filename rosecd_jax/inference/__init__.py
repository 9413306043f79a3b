"""Enhancement of arrays, files and folders."""

from rosecd_jax.inference.enhancer import Enhancer
from rosecd_jax.models.sampling import SamplerConfig

__all__ = ["Enhancer", "SamplerConfig"]
