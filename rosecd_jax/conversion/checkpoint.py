"""Former location of `rosecd_jax.conversion.lightning`."""

from rosecd_jax.conversion.lightning import (
    load_any_checkpoint,
    load_torch_checkpoint,
    open_any_checkpoint,
    open_torch_checkpoint,
    save_torch_checkpoint,
)

__all__ = [
    "load_any_checkpoint",
    "load_torch_checkpoint",
    "open_any_checkpoint",
    "open_torch_checkpoint",
    "save_torch_checkpoint",
]
