"""User-defined parts of a training run: loss, optimizer, network and the solver of distillation."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from rosecd_jax.losses.batch import Batch
from rosecd_jax.losses.distillation import TeacherStep
from rosecd_jax.models.own_network import OwnNetwork, describe, name_of
from rosecd_jax.models.score_model import Params

__all__ = ["AS_CONFIGURED", "Functions", "Loss", "Metrics", "built_optimizer", "check_storable", "described"]

Metrics = dict[str, jax.Array]
Loss = Callable[[Params, Params, Params, Batch, jax.Array], tuple[jax.Array, Metrics]]
"""(params, moving average, teacher's params, batch, key) -> (loss, its terms)."""


class Functions(NamedTuple):
    """User-defined functions that replace those named in the config; None: the config's.

    A config file defines `get_functions(config: TrainConfig) -> Functions` next to its `get_config`; programs
    pass them to `train`, `make_step` and `make_train_step`.

    Attributes:
      loss: (params, ema, teacher_params, batch, key) -> (loss, terms); pure, and traced by jit. The loss is
        differentiated with respect to `params`; `ema` is their moving average, `teacher_params` the
        teacher's weights ({} without one), all of them trees as for
        `ScoreModel.denoise`; `batch` holds spectrograms, complex64 [B, F, T]; `key` is new at each step.
        Loss and terms, a dict for the log, are float32 scalars.
      optimizer: optimizer of the tree of weights, or a function without arguments that returns it, such as
        `functools.partial(optax.contrib.muon, 1e-3)`, whose arguments are stored in the checkpoint. Of the
        config's settings, `ema_decay` still applies and, in `train`, `accumulate` and `skips_in_a_row`.
      network: Flax module in place of NCSN++, see `rosecd_jax.models.OwnNetwork`.
      teacher_step: the solver of distillation, called as `rosecd_jax.losses.distillation.teacher_step`:
        (teacher, teacher_params, x, y, t, t_next, draws, config) -> x at t_next, complex64 [B, F, T].
    """

    loss: Loss | None = None
    optimizer: optax.GradientTransformation | Callable[[], optax.GradientTransformation] | None = None
    network: nn.Module | None = None
    teacher_step: TeacherStep | None = None


AS_CONFIGURED = Functions()
"""No user-defined functions."""


def built_optimizer(functions: Functions) -> optax.GradientTransformation | None:
    """Return the user-defined optimizer, if there is one.

    Raises:
      ValueError: if it is not an optax optimizer.
    """
    optimizer = functions.optimizer
    if optimizer is not None and not isinstance(optimizer, optax.GradientTransformation):
        optimizer = optimizer() if callable(optimizer) else optimizer
        if not isinstance(optimizer, optax.GradientTransformation):
            raise ValueError(f"optimizer is {optimizer!r}, it has to be an optax.GradientTransformation")
    return optimizer


def described(functions: Functions) -> dict[str, Any]:
    """Describe functions for a checkpoint: {"loss": {"name": "module:qualname", "settings": ...}, ...}.

    Settings are a partial function's arguments, a closure's numbers and strings, and a module's fields.
    """
    notes = {}
    for role, function in functions._asdict().items():
        if isinstance(function, nn.Module):
            notes[role] = {"name": name_of(type(function)), "settings": str(OwnNetwork.of(function))}
        elif isinstance(function, optax.GradientTransformation):
            notes[role] = _described(function.update)
        elif function is not None:
            notes[role] = _described(function)
    return notes


def _described(function: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        settings = {"args": [*function.args], **function.keywords} | settings
        function = function.func
    code = getattr(function, "__code__", None)
    for name, cell in zip(code.co_freevars if code else (), function.__closure__ or (), strict=False):
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if isinstance(value, bool | int | float | str):
            settings[name] = value
    return {"name": name_of(function), "settings": describe({k: v for k, v in settings.items() if v != []})}


def check_storable(opt_state: optax.OptState) -> None:
    """Raise ValueError if an optimizer's state can't be stored in a checkpoint."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(opt_state):
        where = jax.tree_util.keystr(path)
        if jnp.issubdtype(getattr(leaf, "dtype", object), jax.dtypes.prng_key):
            raise ValueError(
                f"the optimizer's state has a typed PRNG key at {where}, which can't be stored; keep its "
                "jax.random.key_data"
            )
        if not getattr(leaf, "size", 1):
            raise ValueError(
                f"the optimizer's state has an array of shape {leaf.shape} at {where}, which can't be stored"
            )
