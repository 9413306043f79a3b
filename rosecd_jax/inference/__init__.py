"""Enhancement of arrays, files, folders and streams. Names are imported on first use."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rosecd_jax.inference.enhancer import Enhancer
    from rosecd_jax.inference.stream_step import StreamConfig
    from rosecd_jax.inference.streaming import StreamingEnhancer
    from rosecd_jax.models.enhancement import SamplerConfig

__all__ = ["Enhancer", "SamplerConfig", "StreamConfig", "StreamingEnhancer"]

_HOMES = {
    "Enhancer": "rosecd_jax.inference.enhancer",
    "SamplerConfig": "rosecd_jax.models.enhancement",
    "StreamConfig": "rosecd_jax.inference.stream_step",
    "StreamingEnhancer": "rosecd_jax.inference.streaming",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
