"""Enhancement of arrays, files, folders and streams."""

from rosecd_jax.inference.enhancer import Enhancer
from rosecd_jax.inference.stream_step import StreamConfig
from rosecd_jax.inference.streaming import StreamingEnhancer
from rosecd_jax.models.sampling import SamplerConfig

__all__ = ["Enhancer", "SamplerConfig", "StreamConfig", "StreamingEnhancer"]
