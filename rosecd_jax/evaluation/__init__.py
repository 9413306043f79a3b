"""Evaluation of models, or folders of enhanced files, on paired recordings."""

from rosecd_jax.evaluation.cache import ScoreCache
from rosecd_jax.evaluation.evaluate import Evaluation, FileResult, evaluate
from rosecd_jax.evaluation.results import build_results, read_results, write_results

__all__ = [
    "Evaluation",
    "FileResult",
    "ScoreCache",
    "build_results",
    "evaluate",
    "read_results",
    "write_results",
]
