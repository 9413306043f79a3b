"""A model on disk: one directory with its config and its weights, written by orbax.

    config/   the ModelConfig as JSON
    ema/      the moving average of the weights: what one enhances with
    raw/      the weights as the optimizer left them (where training kept them)

Every step of a training run has this layout too, among other items, so that a run's directory can be loaded
as it is.
"""

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
"""Where a training run keeps its steps."""


class CheckpointError(ValueError):
    """A checkpoint that can't be read or written; the message names the path and the remedy."""


def save_checkpoint(
    path: str | os.PathLike, model: ScoreModel, params: Params | Mapping[str, Params], overwrite: bool = False
) -> Path:
    """Write a model as a directory, under a temporary name first.

    Args:
      path: of the directory.
      model: its config is stored.
      params: one parameter tree (stored as "ema", the weights to use), or {"ema": tree, "raw": tree}.
      overwrite: replace a checkpoint of a model, and nothing else; a failure leaves the old one as it was.

    Returns:
      The path, absolute.

    Raises:
      CheckpointError: if there are no weights, they aren't the model's, or something is in the way, see
        `check_target`.
    """
    import orbax.checkpoint as ocp

    path = Path(path).absolute()
    check_target(path, overwrite)
    if not isinstance(params, Mapping):
        found = type(params).__name__
        raise CheckpointError(f"{path} can't be written: its parameters are a {found}, expected a dict")
    named = dict(params) if params and set(params) <= set(WEIGHTS) else {"ema": params}
    if not all(jax.tree.leaves(tree) for tree in named.values()):
        raise CheckpointError(f"{path} can't be written: there are no weights; give the model's parameters")
    expected = jax.eval_shape(model.init, jax.random.key(0))
    for name, tree in named.items():
        _check_fit(f"{path} can't be written: of its {name!r} weights", expected, tree)
        _check_numbers(f"{path} can't be written: of its {name!r} weights", tree)
    items = {name: ocp.args.PyTreeSave(tree) for name, tree in named.items()}
    with (
        replacing_folder(path) as temporary,  # orbax adds a suffix while it writes
        ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer,
    ):
        config = ocp.args.JsonSave(model_item(model.config))
        checkpointer.save(temporary, ocp.args.Composite(config=config, **items))
    return path


def check_target(path: Path, overwrite: bool) -> None:
    """Whether a model can be saved at `path`: before anything is computed.

    Raises:
      CheckpointError: if `path` is no directory, exists and `overwrite` is False, or holds anything but a
        model: a run's directory and its steps are more than that.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise CheckpointError(f"{path} is a file; a checkpoint is a directory, choose another path")
    if not overwrite:
        raise CheckpointError(f"{path} exists; choose another path, or overwrite it on purpose")
    others = sorted({file.name for file in path.iterdir()} - {"config", *WEIGHTS, *ORBAX_FILES})
    if others:
        raise CheckpointError(
            f"{path} is a directory, but no checkpoint of a model alone: it holds {others[0]!r}; choose "
            "another path"
        )


def model_item(config: ModelConfig) -> dict[str, Any]:
    """What the item `config` of a checkpoint holds, as far as the model goes."""
    return {"model": to_dict(config)}


def load_checkpoint(
    path: str | os.PathLike, weights: Literal["ema", "raw"] = "ema", network: nn.Module | None = None
) -> tuple[ScoreModel, Params]:
    """Read a model.

    Args:
      path: a model directory, one step of a training run, or a run's directory (its last step is taken); or
        the name of a model that comes with the package.
      weights: "ema" (what one enhances with) or "raw".
      network: the Flax module of a model whose network is not this package's; what it is called and how it is
        set was stored, and is compared.

    Returns:
      The model and its parameters: float32 arrays on the default device, in whatever precision they are kept.

    Raises:
      CheckpointError: if there is no such checkpoint, it lacks these weights, they don't fit its config, or
        it needs another `network`.
    """
    import orbax.checkpoint as ocp

    if weights not in WEIGHTS:
        raise CheckpointError(f"weights={weights!r}: expected one of {WEIGHTS}")
    path, config, available, *_ = open_checkpoint(path)
    if weights not in available:
        raise CheckpointError(f"{path} holds no {weights!r} weights; it has {list(available)}")
    model = model_of(path, config, network)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        expected = jax.eval_shape(model.init, jax.random.key(0))
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), expected)
        try:
            restore = ocp.args.PyTreeRestore(item=expected, restore_args=as_numpy)
            params = checkpointer.restore(path, ocp.args.Composite(**{weights: restore}))[weights]
        except Exception as error:  # orbax has no error type of its own
            raise CheckpointError(
                f"{path}: its {weights!r} weights can't be read ({error}); if its run goes on and has just "
                "removed this step, try again, else it is damaged: name another step or copy it anew"
            ) from error
    _check_fit(f"{path}:", expected, params)
    return model, jax.tree.map(lambda wanted, found: jnp.asarray(found, wanted.dtype), expected, params)


def model_of(path: Path, config: ModelConfig, network: nn.Module | None) -> ScoreModel:
    """The model of a checkpoint at `path`; CheckpointError if `network` isn't the one that it needs."""
    if network is not None and config.own_network is None:
        raise CheckpointError(f"{path} holds a model whose network is the package's own: leave `network` out")
    try:
        model = ScoreModel(config, network)
        _ = model.network
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return model


class StoredModel(NamedTuple):
    """What a checkpoint holds, its weights not yet read.

    Attributes:
      path: the directory with config and weights.
      config: of the model.
      weights: which of `WEIGHTS` it has.
      step: of the training run that it belongs to, or None.
      functions: what of one's own the run was made with, by role: each {"name": "module:qualname",
        "settings": ...}.
    """

    path: Path
    config: ModelConfig
    weights: tuple[str, ...]
    step: int | None
    functions: Mapping[str, Any] = MappingProxyType({})

    def shapes(self) -> Params:
        """The tree of the parameters' shapes, read from the checkpoint; the model's network is not needed."""
        import orbax.checkpoint as ocp

        stored: Any = ocp.PyTreeCheckpointer().metadata(self.path / self.weights[0])
        return stored.item_metadata.tree


def open_checkpoint(path: str | os.PathLike) -> StoredModel:
    """Read all of a checkpoint but its weights; `path` as for `load_checkpoint`.

    Raises:
      CheckpointError: if there is no such checkpoint, or its config can't be read.
    """
    import orbax.checkpoint as ocp

    path = find_model(path)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        try:
            stored = checkpointer.restore(path, ocp.args.Composite(config=ocp.args.JsonRestore()))
            config = from_dict(ModelConfig, stored["config"]["model"], "model")
        except (KeyError, TypeError, ValueError, OSError, RecursionError) as error:
            raise CheckpointError(f"{path}: its config can't be read ({error})") from error
    available = tuple(name for name in WEIGHTS if (path / name).is_dir())
    step = int(path.name) if path.parent.name == STEPS_FOLDER and path.name.isdigit() else None
    return StoredModel(path, config, available, step, stored["config"].get("functions", {}))


def find_model(path: str | os.PathLike) -> Path:
    """The directory that holds config and weights: `path` itself, or the last step of a training run.

    The name of a model that comes with the package, such as "small", stands for it if there is no such path.

    Raises:
      CheckpointError: if there is none.
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
            raise CheckpointError(f"{what} parameter {name} is {found[name]}, the config asks for {shape}")
