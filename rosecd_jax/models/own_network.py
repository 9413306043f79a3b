"""Custom networks: their interface, and their description in a checkpoint."""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["OwnNetwork", "describe", "init_own", "name_of", "without_modules"]


@dataclasses.dataclass(frozen=True)
class OwnNetwork:
    """Description of a Flax module that replaces NCSN++; made by `OwnNetwork.of`.

    The module is called like NCSN++: x float32 [B, F, T, 4] (real and imaginary parts of x_t and y), t
    float32 [B] -> float32 [B, F, T, 2]. It has no variables except parameters, and uses no random numbers.

    Attributes:
      name: name of the module's class, as "module:qualname".
      settings: fields of the module, as JSON.
      stride: divisor of the number of frames: the module's attribute `stride`, or 1.
    """

    name: str
    settings: str = "{}"
    stride: int = 1

    @classmethod
    def of(cls, network: nn.Module) -> "OwnNetwork":
        """Describe a module.

        Raises:
          ValueError: if it is not a module, can't be hashed (as with arrays in fields), or has an invalid
            stride.
        """
        if not isinstance(network, nn.Module):
            raise ValueError(f"network is {network!r}, it has to be an instance of a flax.linen.Module")
        try:
            hash(network)
        except TypeError as error:
            raise ValueError(f"the network {name_of(type(network))} can't be hashed: {error}") from error
        fields = [field.name for field in dataclasses.fields(network) if field.name not in ("parent", "name")]
        settings = {name: describe(getattr(network, name)) for name in fields}
        stride = getattr(network, "stride", 1)
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f"the network's stride is {stride!r}, it has to be a positive whole number")
        return cls(name_of(type(network)), json.dumps(settings), stride)

    def same(self, other: "OwnNetwork") -> bool:
        """Return whether two descriptions are of the same network, regardless of its class's module."""
        return without_modules(dataclasses.asdict(self)) == without_modules(dataclasses.asdict(other))

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in json.loads(self.settings).items())
        return f"{self.name}({settings})"


def without_modules(notes: Any) -> Any:
    """Replace every "module:qualname" by the qualname, as definitions may move between modules."""
    if isinstance(notes, Mapping):
        return {name: without_modules(value) for name, value in notes.items()}
    return re.sub(r"[\w.]+:(?=\w)", "", notes) if isinstance(notes, str) else notes


def name_of(thing: Any) -> str:
    """Return "module:qualname" of a function or class, or of an object's class."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}:{named.__qualname__}"


def describe(value: Any) -> Any:
    """Convert a setting to JSON values: numbers and strings unchanged, others by name or repr."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [describe(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): describe(each) for name, each in value.items()}
    if isinstance(value, nn.Module):
        return str(OwnNetwork.of(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if callable(value):
        return name_of(value)
    words = repr(value)
    return name_of(value) if " at 0x" in words else words


def init_own(network: nn.Module, key: jax.Array, bins: int, frames: int) -> Any:
    """Initialize the module's parameters with its own initializers; pure.

    Raises:
      ValueError: if it has variables other than parameters, no parameters, a parameter that is empty or not
        of floats, or an output other than [B, F, T, 2].
    """
    name, x, t = name_of(type(network)), jnp.zeros((1, bins, frames, 4)), jnp.ones(1)
    out, variables = jax.eval_shape(network.init_with_output, key, x, t)
    if others := sorted(set(variables) - {"params"}):
        raise ValueError(
            f"the network {name} has variables {others[0]!r}; only parameters are trained and stored: use "
            "GroupNorm or LayerNorm instead of BatchNorm"
        )
    if not jax.tree.leaves(variables):
        raise ValueError(f"the network {name} has no parameters")
    shape, wanted = getattr(out, "shape", None), (1, bins, frames, 2)
    if shape != wanted or not jnp.issubdtype(out.dtype, jnp.floating):
        kind = "" if shape is None else f" {out.dtype}"
        raise ValueError(
            f"the network {name} returns{kind} {shape} for an input {x.shape}, expected floats {wanted}"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        what = f"the network {name} has a parameter {jax.tree_util.keystr(path)}"
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"{what} of {leaf.dtype}, expected floats")
        if not leaf.size:
            raise ValueError(f"{what} of shape {leaf.shape}, which can't be stored: leave it out")
    return nn.meta.unbox(jax.jit(network.init)(key, x, t)["params"])
