"""Model checkpoints: a directory with a model's config and weights, written by orbax.

    config/   the ModelConfig as JSON, and digests of it and of the weights
    ema/      the moving average of the weights, for enhancement
    raw/      the optimizer's weights (if stored by training)

Every step of a training run contains this layout, so that a run's directory can be loaded directly.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.atomic import replacing_folder
from rosecd_jax.config import from_dict, to_dict
from rosecd_jax.models.score_model import ModelConfig, Params, ScoreModel
from rosecd_jax.pretrained import pretrained_models, resolve

WEIGHTS = ("ema", "raw")
ORBAX_FILES = ("_CHECKPOINT_METADATA", "commit_success.txt")
STEPS_FOLDER = "checkpoints"
"""Folder of a training run's steps."""


class CheckpointError(ValueError):
    """Error in reading or writing a checkpoint; the message names the path and the remedy."""


def save_checkpoint(
    path: str | os.PathLike, model: ScoreModel, params: Params | Mapping[str, Params], overwrite: bool = False
) -> Path:
    """Write a model as a directory, atomically.

    Args:
      path: directory to write.
      model: model whose config is stored.
      params: one parameter tree (stored as "ema", the weights to use), or {"ema": tree, "raw": tree}.
      overwrite: replace an existing model checkpoint, and nothing else; a failure leaves it unchanged.

    Returns:
      The absolute path.

    Raises:
      CheckpointError: if weights are missing or not the model's, or the path is taken, see `check_target`.
    """
    import orbax.checkpoint as ocp

    path = Path(path).absolute()
    check_target(path, overwrite)
    if not isinstance(params, Mapping):
        found = type(params).__name__
        raise CheckpointError(f"{path} can't be written: its parameters are a {found}, expected a dict")
    named = dict(params) if params and set(params) <= set(WEIGHTS) else {"ema": params}
    if "ema" not in named or not all(jax.tree.leaves(tree) for tree in named.values()):
        raise CheckpointError(f"{path} can't be written: weights are missing; give the model's parameters")
    expected = jax.eval_shape(model.init, jax.random.key(0))
    for name, tree in named.items():
        _check_fit(f"{path} can't be written: of its {name!r} weights", expected, tree)
        _check_numbers(f"{path} can't be written: of its {name!r} weights", tree)
    items = {name: ocp.args.PyTreeSave(tree) for name, tree in named.items()}
    with (
        replacing_folder(path) as temporary,  # orbax adds a suffix while it writes
        ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer,
    ):
        item = model_item(model.config)
        digests = {name: digest_of_weights(tree) for name, tree in named.items()}
        digests["config"] = digest_of_config(item["model"])
        config = ocp.args.JsonSave(item | {"digests": digests})
        checkpointer.save(temporary, ocp.args.Composite(config=config, **items))
    return path


def check_target(path: Path, overwrite: bool) -> None:
    """Check in advance whether a model can be saved at `path`.

    Raises:
      CheckpointError: if `path` is not a directory, exists and `overwrite` is False, or holds anything but a
        model, as a run's directory and its steps do.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise CheckpointError(f"{path} is a file; a checkpoint is a directory, choose another path")
    if not overwrite:
        raise CheckpointError(f"{path} exists; choose another path, or pass overwrite=True")
    others = sorted({file.name for file in path.iterdir()} - {"config", *WEIGHTS, *ORBAX_FILES})
    if others:
        raise CheckpointError(
            f"{path} is a directory with more than a model's checkpoint: it holds {others[0]!r}; choose "
            "another path"
        )


def model_item(config: ModelConfig) -> dict[str, Any]:
    """Return the model's part of a checkpoint's item `config`."""
    return {"model": to_dict(config)}


def digest_of_weights(params: Params) -> str:
    """Return the hexadecimal SHA-256 of a parameter tree's values."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def digest_of_config(stored: Mapping[str, Any]) -> str:
    """Return the hexadecimal SHA-256 of a config as JSON."""
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()


def load_checkpoint(
    path: str | os.PathLike, weights: Literal["ema", "raw"] = "ema", network: nn.Module | None = None
) -> tuple[ScoreModel, Params]:
    """Read a model.

    Args:
      path: a model directory, one step of a training run, or a run's directory (for its last step); or the
        name of a packaged model.
      weights: "ema" (for enhancement) or "raw".
      network: the Flax module of a model with a custom network; compared with the stored name and settings.

    Returns:
      The model and its parameters: float32 arrays on the default device.

    Raises:
      CheckpointError: if the checkpoint is missing, lacks these weights or needs another `network`, or if the
        weights don't match its config or, in a model directory, their digest.
    """
    import orbax.checkpoint as ocp

    if weights not in WEIGHTS:
        raise CheckpointError(f"weights={weights!r}: expected one of {WEIGHTS}")
    stored = open_checkpoint(path)
    path = stored.path
    if weights not in stored.weights:
        raise CheckpointError(f"{path} holds no {weights!r} weights; it has {list(stored.weights)}")
    model = model_of(path, stored.config, network)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        expected = jax.eval_shape(model.init, jax.random.key(0))
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), expected)
        try:
            restore = ocp.args.PyTreeRestore(item=expected, restore_args=as_numpy)
            params = checkpointer.restore(path, ocp.args.Composite(**{weights: restore}))[weights]
        except Exception as error:  # orbax has no error type of its own
            raise CheckpointError(
                f"{path}: its {weights!r} weights can't be read ({error}); if a training run has just "
                "removed this step, try again; otherwise it is damaged: give another step or copy it again"
            ) from error
    _check_fit(f"{path}:", expected, params)
    if weights in stored.digests and digest_of_weights(params) != stored.digests[weights]:
        raise CheckpointError(f"{path}: its {weights!r} weights are damaged: copy it again")
    return model, jax.tree.map(lambda wanted, found: jnp.asarray(found, wanted.dtype), expected, params)


def model_of(path: Path, config: ModelConfig, network: nn.Module | None) -> ScoreModel:
    """Build the model of a checkpoint at `path`; raise CheckpointError if it needs another `network`."""
    if network is not None and config.own_network is None:
        raise CheckpointError(f"{path} holds a model with the package's own network: leave `network` out")
    try:
        model = ScoreModel(config, network)
        _ = model.network
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return model


class StoredModel(NamedTuple):
    """Contents of a checkpoint without its weights.

    Attributes:
      path: the directory with config and weights.
      config: config of the model.
      weights: those of `WEIGHTS` that exist.
      step: step of the training run, or None.
      functions: user-defined functions of the run by role: {"name": "module:qualname", "settings": ...}.
      digests: digests of a model directory's config and weights by name; empty in runs and older versions.
    """

    path: Path
    config: ModelConfig
    weights: tuple[str, ...]
    step: int | None
    functions: Mapping[str, Any] = MappingProxyType({})
    digests: Mapping[str, str] = MappingProxyType({})

    def shapes(self) -> Params:
        """Read the tree of the parameters' shapes; the model's network is not needed."""
        import orbax.checkpoint as ocp

        stored: Any = ocp.PyTreeCheckpointer().metadata(self.path / self.weights[0])
        return getattr(stored, "item_metadata", stored).tree  # orbax 0.11.20 returns the metadata itself


def open_checkpoint(path: str | os.PathLike) -> StoredModel:
    """Read a checkpoint without its weights; `path` as for `load_checkpoint`.

    Raises:
      CheckpointError: if the checkpoint is missing, or its config can't be read or is damaged.
    """
    import orbax.checkpoint as ocp

    path = find_model(path)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        try:
            stored = checkpointer.restore(path, ocp.args.Composite(config=ocp.args.JsonRestore()))["config"]
            config = from_dict(ModelConfig, stored["model"], "model")
        except (KeyError, TypeError, ValueError, OSError, RecursionError) as error:
            raise CheckpointError(f"{path}: its config can't be read ({error})") from error
    digests = stored.get("digests", {})
    if "config" in digests and digest_of_config(stored["model"]) != digests["config"]:
        raise CheckpointError(f"{path}: its config was damaged or edited after it was saved: copy it again")
    available = tuple(name for name in WEIGHTS if (path / name).is_dir())
    step = int(path.name) if path.parent.name == STEPS_FOLDER and path.name.isdigit() else None
    return StoredModel(path, config, available, step, stored.get("functions", {}), digests)


def find_model(path: str | os.PathLike) -> Path:
    """Find the directory of config and weights: `path` itself, or the last step of a training run.

    If the path doesn't exist, it may be the name of a packaged model, such as "small".

    Raises:
      CheckpointError: if none is found.
    """
    path = resolve(path).absolute()
    if (path / "config").is_dir():
        return path
    steps = sorted(
        (p for p in (path / STEPS_FOLDER).glob("*") if p.name.isdigit()), key=lambda p: int(p.name)
    )
    if steps:
        return steps[-1]
    if not path.exists():
        known = ", ".join(pretrained_models())
        raise CheckpointError(f"no checkpoint at {path}: no such directory; models by name are {known}")
    raise CheckpointError(
        f"no checkpoint at {path}: expected a model directory or a training run's directory"
    )


def _check_numbers(what: str, params: Params) -> None:
    """Raise CheckpointError, beginning with `what`, unless all leaves are arrays of finite real numbers."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name, array = jax.tree_util.keystr(path), isinstance(leaf, np.ndarray | jax.Array)
        if not array or not jnp.issubdtype(leaf.dtype, jnp.floating):
            found = leaf.dtype if array else f"a {type(leaf).__name__}"
            raise CheckpointError(f"{what} parameter {name} is {found}, expected an array of floats")
        if not bool(jnp.isfinite(leaf).all()):
            raise CheckpointError(f"{what} parameter {name} holds NaN or infinite numbers")


def _check_fit(what: str, expected: Params, params: Params) -> None:
    """Raise CheckpointError, beginning with `what`, if these aren't the parameters of a model's config."""

    def shapes(tree: Params) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(name): np.shape(leaf) for name, leaf in leaves}

    wanted, found = shapes(expected), shapes(params)
    if missing := sorted(set(wanted) - set(found)):
        raise CheckpointError(f"{what} parameter {missing[0]} is missing ({len(missing)} in all)")
    if unknown := sorted(set(found) - set(wanted)):
        raise CheckpointError(f"{what} parameter {unknown[0]} is not the model's ({len(unknown)} in all)")
    for name, shape in wanted.items():
        if found[name] != shape:
            raise CheckpointError(f"{what} parameter {name} is {found[name]}, the config requires {shape}")
