"""One-step speech enhancement by consistency distillation (ROSE-CD) in JAX.

    import rosecd_jax

    enhancer = rosecd_jax.Enhancer.from_checkpoint()
    clean = enhancer(wave, sample_rate)

Names are imported on first use, so that `import rosecd_jax` is fast and initializes no device.
"""

from typing import TYPE_CHECKING

from rosecd_jax.lazy import import_names

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

_MODULES = {
    "Enhancer": "inference.enhancer",
    "ModelConfig": "models.score_model",
    "NCSNppConfig": "models.ncsnpp",
    "ScoreModel": "models.score_model",
    "load_checkpoint": "models.checkpoint",
    "save_checkpoint": "models.checkpoint",
}

__getattr__, __dir__ = import_names(__name__, dict.fromkeys(__all__, "") | _MODULES)
