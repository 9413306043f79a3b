"""What of a training run can be a function of one's own, in place of what the config names."""

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
    """Each takes the place of what the config names; None: the config's.

    A config file defines `get_functions(config: TrainConfig) -> Functions` beside its `get_config`; programs
    pass them to `train`, `make_step` and `make_train_step`.

    Attributes:
      loss: (params, ema, teacher_params, batch, key) -> (loss, terms); pure, and traced by jit. `params` is
        what the loss is differentiated by, `ema` its moving average, `teacher_params` the teacher's weights
        ({} without one), all as `ScoreModel.denoise` takes them; `batch` holds spectrograms, complex64
        [B, F, T]; `key` is new at each step. The loss is a float32 scalar, as is each of the terms, a dict
        for the log.
      optimizer: of the gradient's tree; or a function without arguments that makes it, such as
        `functools.partial(optax.contrib.muon, 1e-3)`, whose arguments are noted in the checkpoint. Of the
        config's settings, `ema_decay`, `accumulate` and `skips_in_a_row` still count.
      network: in place of NCSN++, see `rosecd_jax.models.OwnNetwork`.
      teacher_step: the solver of distillation, called as `rosecd_jax.losses.distillation.teacher_step`:
        (teacher, teacher_params, x, y, t, t_next, draws, config) -> x at t_next, complex64 [B, F, T].
    """

    loss: Loss | None = None
    optimizer: optax.GradientTransformation | Callable[[], optax.GradientTransformation] | None = None
    network: nn.Module | None = None
    teacher_step: TeacherStep | None = None


AS_CONFIGURED = Functions()
"""None of one's own."""


def built_optimizer(functions: Functions) -> optax.GradientTransformation | None:
    """The optimizer of one's own, if there is one.

    Raises:
      ValueError: if it is none of optax.
    """
    made = functions.optimizer
    if made is not None and not isinstance(made, optax.GradientTransformation):
        made = made() if callable(made) else made
        if not isinstance(made, optax.GradientTransformation):
            raise ValueError(f"optimizer is {made!r}, it has to be an optax.GradientTransformation")
    return made


def described(functions: Functions) -> dict[str, Any]:
    """What a checkpoint notes: {"loss": {"name": "module:qualname", "settings": ...}, ...}; JSON values.

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
    """Raise ValueError if a checkpoint could not hold an optimizer's state: before any training."""
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
