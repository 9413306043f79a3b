"""The authors' Lightning checkpoints <-> our models."""

import dataclasses
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from rosecd_jax.conversion.contents import FREQUENCIES, NETWORK, OURS, Contents, mapping, read_contents
from rosecd_jax.conversion.hyper_parameters import (
    config_from_hyper_parameters,
    hyper_parameters_from_config,
    published_sampler,
)
from rosecd_jax.conversion.parameters import check_state, parameter_names, params_from_torch, params_to_torch
from rosecd_jax.conversion.tensors import check_reading
from rosecd_jax.conversion.torch_file import TorchFileError, TorchTensor, read_torch_file, write_torch_file
from rosecd_jax.models.checkpoint import WEIGHTS, StoredModel, load_checkpoint, open_checkpoint
from rosecd_jax.models.score_model import ModelConfig, Params, ScoreModel


@dataclasses.dataclass(frozen=True)
class TorchCheckpoint:
    """One of the authors' checkpoints, its numbers still in the file.

    Attributes:
      path: of the file.
      config: of the model.
      step: of the training, or None where the file doesn't tell.
      weights: "raw", and "ema" where the file has it -> their parameter name -> tensor.
    """

    path: Path
    config: ModelConfig
    step: int | None
    weights: Mapping[str, Mapping[str, TorchTensor]]


def open_torch_checkpoint(
    path: str | os.PathLike, hyper_parameters: Mapping[str, Any] | ModelConfig | None = None
) -> TorchCheckpoint:
    """Read all of a checkpoint but its numbers.

    Args:
      path: of the file: a checkpoint of their training, or their network's parameters alone.
      hyper_parameters: theirs, or our config of the model; None: the file's own, which it has to have then.

    Raises:
      TorchFileError: if the file can't be read or is no such checkpoint, if its model is not known here
        (naming the hyper-parameter), or a parameter is missing, unknown, or of a wrong shape (naming it).
    """
    path = Path(path)
    contents = read_contents(path, read_torch_file(path))
    config = _config(path, contents, hyper_parameters)
    _check(path, "raw", contents.state, config)
    weights = _weights(path, contents.ema, config, contents.state)
    for kind, state in weights.items():
        _check(path, kind, state, config)
    return TorchCheckpoint(path, config, contents.step, weights)


def _config(path: Path, contents: Contents, given: Mapping[str, Any] | ModelConfig | None) -> ModelConfig:
    if given is not None and contents.hyper_parameters is not None:
        raise TorchFileError(f"{path} has hyper-parameters of its own; leave the others out")
    if isinstance(given, ModelConfig):
        return given
    values = contents.hyper_parameters if given is None else given
    if values is None:
        raise TorchFileError(
            f"{path} has no 'hyper_parameters', which say what its model is: give them by `rosecd convert "
            "--hyper-parameters FILE`, a JSON file of what its training was called with"
        )
    role, snr = contents.ours.get("role"), contents.ours.get("corrector_snr")
    try:
        config = config_from_hyper_parameters(values, role if isinstance(role, str) else None)
        steps, published_snr = published_sampler(path.name, values)
        sde = config.sde if steps is None else dataclasses.replace(config.sde, steps=steps)
        snr = snr if isinstance(snr, float) else published_snr
        return dataclasses.replace(config, sde=sde, corrector_snr=snr)
    except ValueError as error:
        raise TorchFileError(f"{path}: {error}") from error


def _check(path: Path, kind: str, state: Mapping[str, Any], config: ModelConfig) -> None:
    for name, tensor in state.items():
        if not isinstance(tensor, TorchTensor):
            raise TorchFileError(f"{path}: {kind} parameter {name[:100]!r} is no tensor")
    try:
        check_state(state, config.network)
        check_reading(state[name] for name in parameter_names(config.network))
    except ValueError as error:
        raise TorchFileError(f"{path}: {kind} {error}") from error


def _weights(
    path: Path, ema: Any, config: ModelConfig, state: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    """Raw and averaged weights, from the state dict and torch_ema's state.

    A file that was written while the average was swapped in, as in a validation, has the average in its state
    dict and the raw weights in `collected_params`.
    """
    if ema is None:
        return {"raw": state}
    lists = mapping(ema, f"{path}: its 'ema' is")
    average = _named(path, lists, "shadow_params", config, state)
    if lists.get("collected_params") is None:
        return {"raw": state, "ema": average}
    return {"raw": _named(path, lists, "collected_params", config, state), "ema": average}


def _named(
    path: Path, lists: Mapping[Any, Any], field: str, config: ModelConfig, state: Mapping[str, Any]
) -> dict[str, Any]:
    """A list without names, in the order of the network's parameters."""
    found, names = lists.get(field), list(parameter_names(config.network))
    if not isinstance(found, list):
        raise TorchFileError(f"{path}: its 'ema' has no list {field!r}")
    if len(found) == len(names) - 1 and FREQUENCIES in state:  # some versions leave out what isn't trained
        place = names.index(FREQUENCIES)
        found = [*found[:place], state[FREQUENCIES], *found[place:]]
    if len(found) != len(names):
        raise TorchFileError(
            f"{path}: its 'ema' has {len(found)} parameters, a network of its size has {len(names)}"
        )
    return dict(zip(names, found, strict=True))


def load_torch_checkpoint(
    path: str | os.PathLike, hyper_parameters: Mapping[str, Any] | ModelConfig | None = None
) -> tuple[ScoreModel, dict[str, Params]]:
    """Convert one of the authors' checkpoints in memory. Nothing that the file asks to run is run.

    Args:
      path: of a `.ckpt` file from ROSE-CD's or SGMSE+'s training, or of the network's parameters alone.
      hyper_parameters: as for `open_torch_checkpoint`.

    Returns:
      The model, and {"raw": params, "ema": params}: float32 numpy arrays. A file without a moving average
      gives the raw weights twice.

    Raises:
      TorchFileError: as `open_torch_checkpoint`, or if the file is damaged.
    """
    checkpoint = open_torch_checkpoint(path, hyper_parameters)
    params = {kind: torch_params(checkpoint, kind) for kind in checkpoint.weights}
    return ScoreModel(checkpoint.config), {"raw": params["raw"], "ema": params.get("ema", params["raw"])}


def open_any_checkpoint(path: str | os.PathLike) -> TorchCheckpoint | StoredModel:
    """All of a checkpoint but its weights; `path` and errors as for `load_any_checkpoint`."""
    return open_torch_checkpoint(path) if Path(path).is_file() else open_checkpoint(path)


def load_any_checkpoint(
    path: str | os.PathLike, weights: Literal["ema", "raw"] = "ema", network: nn.Module | None = None
) -> tuple[ScoreModel, Params]:
    """One of the authors' checkpoints where `path` is a file, else one of ours (see `load_checkpoint`).

    `network` is for one of ours.

    Returns:
      The model and its parameters, float32 arrays on the default device.

    Raises:
      TorchFileError: for a file, as `load_torch_checkpoint`.
      CheckpointError: for anything else, as `load_checkpoint`.
    """
    if not Path(path).is_file():
        return load_checkpoint(path, weights, network)
    if network is not None:
        raise TorchFileError(f"{path} holds one of the authors' networks: leave `network` out")
    checkpoint = open_torch_checkpoint(path)
    params = jax.tree.map(jnp.asarray, torch_params(checkpoint, weights))
    return ScoreModel(checkpoint.config), params


def torch_params(checkpoint: TorchCheckpoint, weights: str) -> Params:
    """One of an opened checkpoint's sets of weights ("ema" falls back on "raw"), float32 numpy arrays.

    Raises:
      TorchFileError: if the file is damaged there, or has changed since it was opened.
    """
    if weights not in WEIGHTS:
        raise TorchFileError(f"weights={weights!r}: expected one of {WEIGHTS}")
    kind = weights if weights in checkpoint.weights else "raw"
    return params_from_torch(checkpoint.weights[kind], checkpoint.config.network)


def save_torch_checkpoint(
    path: str | os.PathLike, model: ScoreModel, params: Params | Mapping[str, Params], overwrite: bool = False
) -> Path:
    """Write a model as a checkpoint that the authors' code loads.

    `torch.load(path, weights_only=True)` reads the file; their class is rebuilt by
    `ScoreModel.load_from_checkpoint(path, data_module_cls=SpecsDataModule)` (a file that is safe to load
    can't name that class itself).

    Args:
      path: of the file.
      model: its config becomes their hyper-parameters; the dtype of computation has no place there.
      params: one parameter tree, or {"raw": tree, "ema": tree}; one of these stands for the other, too.
      overwrite: replace what is there.

    Returns:
      The path.

    Raises:
      TorchFileError: if `path` exists and `overwrite` is False, their code has no such model, or a parameter
        doesn't fit the config.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise TorchFileError(f"{path} exists; choose another path or pass overwrite=True")
    named = dict(params) if params and set(params) <= set(WEIGHTS) else {"raw": params}
    one = next(iter(named.values()))
    if model.config.own_network:
        raise TorchFileError(f"{path} can't be written: the authors' code lacks {model.config.own_network}")
    try:
        hyper_parameters = hyper_parameters_from_config(model.config)
        raw = params_to_torch(named.get("raw", one), model.config.network)
        ema = raw if "ema" not in named else params_to_torch(named["ema"], model.config.network)
    except ValueError as error:
        raise TorchFileError(f"{path} can't be written: {error}") from error
    contents = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": OrderedDict((f"{NETWORK}{name}", array) for name, array in raw.items()),
        "loops": {},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters,
        # No number of updates: the average is not warmed up a second time.
        "ema": {
            "decay": hyper_parameters["ema_decay"],
            "num_updates": None,
            "shadow_params": list(ema.values()),
            "collected_params": None,
        },
        OURS: {"role": model.config.role, "corrector_snr": model.config.corrector_snr},
    }
    return write_torch_file(path, contents)
