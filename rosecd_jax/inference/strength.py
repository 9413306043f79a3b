"""Former location of `blend` and `wet_share`, now in `rosecd_jax.models.enhancement`."""

from rosecd_jax.models.enhancement import blend, wet_share

__all__ = ["blend", "wet_share"]
