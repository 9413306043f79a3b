"""Evaluation of models, or folders of enhanced files, on paired recordings.

Names are imported on first use: the processes that score files load neither JAX nor a model.
"""

from typing import TYPE_CHECKING

from rosecd_jax.lazy import import_names

if TYPE_CHECKING:
    from rosecd_jax.evaluation.cache import ScoreCache
    from rosecd_jax.evaluation.results import build_results, read_results, write_results
    from rosecd_jax.evaluation.scoring import FileResult
    from rosecd_jax.evaluation.systems import Evaluation, evaluate

__all__ = [
    "Evaluation",
    "FileResult",
    "ScoreCache",
    "build_results",
    "evaluate",
    "read_results",
    "write_results",
]

__getattr__, __dir__ = import_names(
    __name__,
    {
        "Evaluation": "systems",
        "FileResult": "scoring",
        "ScoreCache": "cache",
        "build_results": "results",
        "evaluate": "systems",
        "read_results": "results",
        "write_results": "results",
    },
)
