"""Checks of paired recordings before evaluation and training: problems and remedies."""

from rosecd_jax.evaluation.check.finding import Finding
from rosecd_jax.evaluation.check.run import Report, check, examine

__all__ = ["Finding", "Report", "check", "examine"]
