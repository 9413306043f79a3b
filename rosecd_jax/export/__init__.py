"""Export of a model as a portable program, and its loader."""

from rosecd_jax.export.program import ExportError, export_model

__all__ = ["ExportError", "export_model"]
