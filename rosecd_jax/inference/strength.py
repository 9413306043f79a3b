"""The old place of `blend` and `wet_share`, which are in `rosecd_jax.models.enhancement`."""

from rosecd_jax.models.enhancement import blend, wet_share

__all__ = ["blend", "wet_share"]
