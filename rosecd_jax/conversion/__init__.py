"""The authors' checkpoints <-> ours."""

from rosecd_jax.conversion.sgmse import parameter_names, params_from_torch

__all__ = ["parameter_names", "params_from_torch"]
