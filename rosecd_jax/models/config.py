"""Former location of `rosecd_jax.config`."""

from rosecd_jax.config import difference, from_dict, to_dict

__all__ = ["difference", "from_dict", "to_dict"]
