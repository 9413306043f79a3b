"""Checks of paired recordings before evaluation and training: problems and remedies.

Names are imported on first use: the processes that compare files need only `check.facts`.
"""

from typing import TYPE_CHECKING

from rosecd_jax.lazy import import_names

if TYPE_CHECKING:
    from rosecd_jax.evaluation.check.finding import Finding
    from rosecd_jax.evaluation.check.run import Report, check, examine

__all__ = ["Finding", "Report", "check", "examine"]

__getattr__, __dir__ = import_names(
    __name__, {"Finding": "finding", "Report": "run", "check": "run", "examine": "run"}
)
