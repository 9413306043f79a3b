"""Whether paired recordings are fit for measuring and training: what is wrong with them, and remedies."""

from rosecd_jax.evaluation.check.finding import Finding
from rosecd_jax.evaluation.check.run import Report, check, examine

__all__ = ["Finding", "Report", "check", "examine"]
