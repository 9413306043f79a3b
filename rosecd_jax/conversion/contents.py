"""Parameters, their moving average and hyper-parameters in the dictionary of a PyTorch file.

Three layouts are read: a Lightning checkpoint; a dictionary with only a state dict; a state dict.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rosecd_jax.conversion.relatives import SUPPORTED, relative
from rosecd_jax.conversion.torch_file import Placeholder, TorchFileError, TorchTensor

NETWORK = "dnn."
"""Prefix of the network's parameters in the authors' state dicts; other names are constants of losses."""
FREQUENCIES = "all_modules.0.W"
"""The network's first parameter; its prefix is that of all of the network's parameters."""
OURS = "rosecd_jax"
"""Our entry in checkpoints that we write for the authors' code, which ignores it."""
STATE_DICTS = ("state_dict", "model_state_dict", "model", "net")
HYPER_PARAMETERS = ("hyper_parameters", "config")


class Contents(NamedTuple):
    """The contents of a PyTorch file.

    Attributes:
      state: parameter name, without prefix -> tensor.
      ema: the state of torch_ema, or None.
      hyper_parameters: the authors', or None if the file has none.
      ours: entries that we added when we wrote the file; empty for the authors' files.
      step: training step, or None.
    """

    state: Mapping[str, Any]
    ema: Any
    hyper_parameters: Mapping[Any, Any] | None
    ours: Mapping[str, Any]
    step: int | None


def read_contents(path: Path, tree: Any) -> Contents:
    """Find the parts of a file's contents.

    Raises:
      TorchFileError: if there are no parameters of a supported network; the message names the project that
        wrote them, if known.
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
    """Return a dict, or the entries of a placeholder (of Lightning's AttributeDict, or a Namespace)."""
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
        f"{path} has no 'state_dict': expected a Lightning checkpoint of the authors' training, or a file "
        "with only the network's parameters"
    )


def _of_network(path: Path, state: Mapping[Any, Any]) -> dict[str, Any]:
    """Select the parameters of the network, and remove their prefix."""
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
