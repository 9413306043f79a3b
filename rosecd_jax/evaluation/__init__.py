"""How well a model, or a folder of enhanced files, does on paired recordings."""

from rosecd_jax.evaluation.evaluate import Evaluation, FileResult, evaluate

__all__ = ["Evaluation", "FileResult", "evaluate"]
