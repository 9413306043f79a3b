"""Conversion of the authors' checkpoints to and from this package's."""

from rosecd_jax.conversion.lightning import (
    TorchCheckpoint,
    load_any_checkpoint,
    load_torch_checkpoint,
    open_any_checkpoint,
    open_torch_checkpoint,
    save_torch_checkpoint,
    torch_params,
)
from rosecd_jax.conversion.parameters import parameter_names, params_from_torch, params_to_torch
from rosecd_jax.conversion.torch_file import TorchFileError

__all__ = [
    "TorchCheckpoint",
    "TorchFileError",
    "load_any_checkpoint",
    "load_torch_checkpoint",
    "open_any_checkpoint",
    "open_torch_checkpoint",
    "parameter_names",
    "params_from_torch",
    "params_to_torch",
    "save_torch_checkpoint",
    "torch_params",
]
