"""What the dictionary in a PyTorch file holds: parameters, their average, hyper-parameters.

Three layouts: a checkpoint of Lightning; a dictionary with a state dict in it and no more; a state dict.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rosecd_jax.conversion.relatives import SUPPORTED, relative
from rosecd_jax.conversion.torch_file import Placeholder, TorchFileError, TorchTensor

NETWORK = "dnn."
"""How the names of the network's parameters begin in their state dicts; the rest are constants of losses."""
FREQUENCIES = "all_modules.0.W"
"""The network's first parameter; what stands before it stands before all of the network's names."""
OURS = "rosecd_jax"
"""Our entry in checkpoints that we write for them; their code passes over it."""
STATE_DICTS = ("state_dict", "model_state_dict", "model", "net")
HYPER_PARAMETERS = ("hyper_parameters", "config")


class Contents(NamedTuple):
    """Of a file.

    Attributes:
      state: parameter name, without a prefix -> tensor.
      ema: what torch_ema saved, or None.
      hyper_parameters: theirs, or None where the file has none.
      ours: what we added when we wrote the file; empty if we did not.
      step: of the training, or None.
    """

    state: Mapping[str, Any]
    ema: Any
    hyper_parameters: Mapping[Any, Any] | None
    ours: Mapping[str, Any]
    step: int | None


def read_contents(path: Path, tree: Any) -> Contents:
    """Find the parts of what a file holds.

    Raises:
      TorchFileError: if there are no parameters of a network that is supported; names the project if it is a
        known relative.
    """
    entries = mapping(tree, f"{path}: the file holds")
    state = _state_dict(path, entries)
    key = next((name for name in HYPER_PARAMETERS if name in entries), None)
    hyper_parameters = None if key is None else mapping(entries[key], f"{path}: its {key!r} are")
    if project := relative(hyper_parameters or {}, state):
        raise TorchFileError(f"{path} is a checkpoint of {project}, which is not supported; {SUPPORTED}")
    ours, step = entries.get(OURS), entries.get("global_step")
    return Contents(
        _of_network(path, state),
        entries.get("ema"),
        hyper_parameters,
        ours if isinstance(ours, dict) else {},
        step if type(step) is int else None,
    )


def mapping(value: Any, what: str) -> Mapping[Any, Any]:
    """A dict, or what stands for an object with entries (Lightning's AttributeDict, a Namespace)."""
    if isinstance(value, Placeholder):
        value = value.entries if value.entries is not None else value.state
    if not isinstance(value, dict):
        raise TorchFileError(f"{what} a {type(value).__name__}, expected a dictionary")
    return value


def _state_dict(path: Path, entries: Mapping[Any, Any]) -> Mapping[Any, Any]:
    for name in STATE_DICTS:
        if name in entries:
            return mapping(entries[name], f"{path}: its {name!r} is")
    if entries and all(isinstance(value, TorchTensor) for value in entries.values()):
        return entries
    raise TorchFileError(
        f"{path} has no 'state_dict': expected a checkpoint that Lightning wrote in the authors' training, "
        "or a file of the network's parameters alone"
    )


def _of_network(path: Path, state: Mapping[Any, Any]) -> dict[str, Any]:
    """The parameters of the network, by their names in it."""
    names = [name for name in state if isinstance(name, str)]
    prefixes = [name.removesuffix(FREQUENCIES) for name in names if name.endswith(FREQUENCIES)]
    if len(prefixes) > 1 and NETWORK not in prefixes:
        shown = [prefix[:50] for prefix in prefixes[:5]]
        raise TorchFileError(f"{path} holds several networks, named {shown}...; keep one of them")
    prefix = NETWORK if NETWORK in prefixes or not prefixes else prefixes[0]
    found = {name.removeprefix(prefix): state[name] for name in names if name.startswith(prefix)}
    if not found:
        raise TorchFileError(f"{path}: none of the names in its 'state_dict' begins with {NETWORK!r}")
    return found
