"""Enhancement of arrays, files and folders."""

from rosecd_jax.inference.enhancer import Enhancer, SamplerConfig

__all__ = ["Enhancer", "SamplerConfig"]
