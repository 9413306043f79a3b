"""Former location of `rosecd_jax.export.program`."""

from rosecd_jax.export.program import ExportError, export_model

__all__ = ["ExportError", "export_model"]
