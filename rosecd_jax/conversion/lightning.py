"""Conversion of the authors' Lightning checkpoints to and from our models."""

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
    """A checkpoint of the authors, whose weights are still in the file.

    Attributes:
      path: path of the file.
      config: config of the model.
      step: training step, or None if unknown.
      weights: "raw", and "ema" if the file has it -> the authors' parameter name -> tensor.
    """

    path: Path
    config: ModelConfig
    step: int | None
    weights: Mapping[str, Mapping[str, TorchTensor]]


def open_torch_checkpoint(
    path: str | os.PathLike, hyper_parameters: Mapping[str, Any] | ModelConfig | None = None
) -> TorchCheckpoint:
    """Read a checkpoint of the authors without its weights.

    Args:
      path: a checkpoint of their training, or a file with only their network's parameters.
      hyper_parameters: the authors', or our config of the model; None if the file has them.

    Raises:
      TorchFileError: if the file can't be read or is not such a checkpoint, if its model is not supported
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
        raise TorchFileError(f"{path} has its own hyper-parameters; don't pass others")
    if isinstance(given, ModelConfig):
        return given
    values = contents.hyper_parameters if given is None else given
    if values is None:
        raise TorchFileError(
            f"{path} has no 'hyper_parameters', which describe its model: pass them as JSON, with "
            "`rosecd convert --hyper-parameters FILE`"
        )
    role, snr = contents.ours.get("role"), contents.ours.get("corrector_snr")
    t_eps = values.get("t_eps")
    changes: dict[str, Any] = {}
    try:
        config = config_from_hyper_parameters(values, role if isinstance(role, str) else None)
        if not isinstance(snr, float):  # a file with our snr also has our steps
            steps, snr = published_sampler(path.name, values)
            if steps is not None:
                changes["steps"] = steps
        if contents.ours and isinstance(t_eps, float):  # theirs is not the sampler's if it is a bridge's
            changes["t_eps"] = t_eps
        sde = dataclasses.replace(config.sde, **changes)
        return dataclasses.replace(config, sde=sde, corrector_snr=snr)
    except ValueError as error:
        raise TorchFileError(f"{path}: {error}") from error


def _check(path: Path, kind: str, state: Mapping[str, Any], config: ModelConfig) -> None:
    for name, tensor in state.items():
        if not isinstance(tensor, TorchTensor):
            raise TorchFileError(f"{path}: {kind} parameter {name[:100]!r} is not a tensor")
    try:
        check_state(state, config.network)
        check_reading(state[name] for name in parameter_names(config.network))
    except ValueError as error:
        raise TorchFileError(f"{path}: {kind} {error}") from error


def _weights(
    path: Path, ema: Any, config: ModelConfig, state: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    """Return raw and averaged weights, from the state dict and torch_ema's state.

    A file written during validation, while the average is swapped in, has the average in its state dict and
    the raw weights in `collected_params`.
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
    """Name the parameters in a list, which has the order of the network's parameters."""
    found, names = lists.get(field), list(parameter_names(config.network))
    if not isinstance(found, list):
        raise TorchFileError(f"{path}: its 'ema' has no list {field!r}")
    if len(found) == len(names) - 1 and FREQUENCIES in state:  # some versions omit untrained parameters
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
    """Convert a checkpoint of the authors in memory, without running code from the file.

    Args:
      path: a `.ckpt` file of ROSE-CD's or SGMSE+'s training, or a file with only the network's parameters.
      hyper_parameters: as in `open_torch_checkpoint`.

    Returns:
      The model, and {"raw": params, "ema": params}, trees of float32 numpy arrays. Without a moving average
      in the file, "ema" holds the raw weights.

    Raises:
      TorchFileError: as in `open_torch_checkpoint`, or if the file is damaged.
    """
    checkpoint = open_torch_checkpoint(path, hyper_parameters)
    params = {kind: torch_params(checkpoint, kind) for kind in checkpoint.weights}
    return ScoreModel(checkpoint.config), {"raw": params["raw"], "ema": params.get("ema", params["raw"])}


def open_any_checkpoint(path: str | os.PathLike) -> TorchCheckpoint | StoredModel:
    """Read a checkpoint without its weights; `path` and errors as in `load_any_checkpoint`."""
    return open_torch_checkpoint(path) if Path(path).is_file() else open_checkpoint(path)


def load_any_checkpoint(
    path: str | os.PathLike, weights: Literal["ema", "raw"] = "ema", network: nn.Module | None = None
) -> tuple[ScoreModel, Params]:
    """Load a checkpoint of the authors if `path` is a file, else one of ours (see `load_checkpoint`).

    `network` is only for ours.

    Returns:
      The model and its parameters, float32 arrays on the default device.

    Raises:
      TorchFileError: for a file, as in `load_torch_checkpoint`.
      CheckpointError: otherwise, as in `load_checkpoint`.
    """
    if not Path(path).is_file():
        return load_checkpoint(path, weights, network)
    if network is not None:
        raise TorchFileError(f"{path} holds a network of the authors: leave `network` out")
    checkpoint = open_torch_checkpoint(path)
    params = jax.tree.map(jnp.asarray, torch_params(checkpoint, weights))
    return ScoreModel(checkpoint.config), params


def torch_params(checkpoint: TorchCheckpoint, weights: str) -> Params:
    """Read the weights of an opened checkpoint ("ema" falls back to "raw") as float32 numpy arrays.

    Raises:
      TorchFileError: if the file is damaged, or has changed since it was opened.
    """
    if weights not in WEIGHTS:
        raise TorchFileError(f"weights={weights!r}: expected one of {WEIGHTS}")
    kind = weights if weights in checkpoint.weights else "raw"
    return params_from_torch(checkpoint.weights[kind], checkpoint.config.network)


def save_torch_checkpoint(
    path: str | os.PathLike, model: ScoreModel, params: Params | Mapping[str, Params], overwrite: bool = False
) -> Path:
    """Write a model as a checkpoint that the authors' code loads.

    `torch.load(path, weights_only=True)` reads the file, and
    `ScoreModel.load_from_checkpoint(path, data_module_cls=SpecsDataModule)` creates the authors' model from
    it (a file that is safe to load can't name that class itself).

    Args:
      path: file to write.
      model: its config becomes the authors' hyper-parameters, without the dtype.
      params: a parameter tree, or {"raw": tree, "ema": tree}; if one is missing, the other replaces it.
      overwrite: replace an existing file.

    Returns:
      The path.

    Raises:
      TorchFileError: if `path` exists and `overwrite` is False, the authors' code has no such model, or a
        parameter doesn't fit the config.
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
        # num_updates is None, so that torch_ema doesn't warm up the average again.
        "ema": {
            "decay": hyper_parameters["ema_decay"],
            "num_updates": None,
            "shadow_params": list(ema.values()),
            "collected_params": None,
        },
        OURS: {"role": model.config.role, "corrector_snr": float(model.config.corrector_snr)},
    }
    return write_torch_file(path, contents)
