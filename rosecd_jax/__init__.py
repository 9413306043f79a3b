"""One-step speech enhancement by consistency distillation (ROSE-CD) in JAX.

    import rosecd_jax

    enhancer = rosecd_jax.Enhancer.from_checkpoint()
    clean = enhancer(wave, sample_rate)

Names are imported on first use, so that `import rosecd_jax` is fast and initializes no device.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rosecd_jax import (
        audio,
        conversion,
        data,
        diffusion,
        evaluation,
        export,
        inference,
        losses,
        metrics,
        models,
        training,
    )
    from rosecd_jax.inference.enhancer import Enhancer
    from rosecd_jax.models.checkpoint import load_checkpoint, save_checkpoint
    from rosecd_jax.models.ncsnpp import NCSNppConfig
    from rosecd_jax.models.score_model import ModelConfig, ScoreModel

__version__ = "0.1.0"

__all__ = [
    "Enhancer",
    "ModelConfig",
    "NCSNppConfig",
    "ScoreModel",
    "audio",
    "conversion",
    "data",
    "diffusion",
    "evaluation",
    "export",
    "inference",
    "load_checkpoint",
    "losses",
    "metrics",
    "models",
    "save_checkpoint",
    "training",
]

_HOMES = {
    "Enhancer": "rosecd_jax.inference.enhancer",
    "ModelConfig": "rosecd_jax.models.score_model",
    "NCSNppConfig": "rosecd_jax.models.ncsnpp",
    "ScoreModel": "rosecd_jax.models.score_model",
    "load_checkpoint": "rosecd_jax.models.checkpoint",
    "save_checkpoint": "rosecd_jax.models.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
