"""One training step: the gradient of the objective, and the update."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rosecd_jax import losses
from rosecd_jax.conversion.lightning import open_any_checkpoint
from rosecd_jax.losses.batch import Batch
from rosecd_jax.losses.distillation import TeacherStep, target_in_one_loop, target_in_sequence
from rosecd_jax.models.score_model import Params, ScoreModel
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.devices import in_context, replicated, state_shardings
from rosecd_jax.training.flat import TREES, Layout, one_vector
from rosecd_jax.training.functions import (
    AS_CONFIGURED,
    Functions,
    Loss,
    Metrics,
    built_optimizer,
    check_storable,
)
from rosecd_jax.training.state import TrainState, init_state, learning_rate, make_optimizer, update

COMPILER_OPTIONS = {"cpu": {"xla_disable_hlo_passes": "cse_barrier_expander"}}
"""XLA's CPU backend removes optimization barriers before fusion; `layers.computed_once` needs them."""


class Waves(NamedTuple):
    """A batch of paired crops, float32 [B, samples]."""

    clean: jax.Array | np.ndarray
    noisy: jax.Array | np.ndarray


def make_loss(
    config: TrainConfig,
    model: ScoreModel,
    teacher: ScoreModel | None = None,
    platform: str | None = None,
    step: TeacherStep | None = None,
) -> Loss:
    """Return the config's objective as one function, which draws and then calls the pure loss.

    On accelerators, distillation loops over the calls of frozen networks where possible, to compile faster.
    On a CPU the gain is smaller, and steps would take longer.

    Args:
      teacher: teacher of distillation; None: that of the checkpoint `config.teacher`, with the module of
        `model` if it needs one.
      platform: platform of the devices; None: JAX's default.
      step: the teacher's solver, instead of that of `config.distillation`.
    """

    def training(params, ema, frozen, batch, key):
        del frozen
        constants = config.consistency_training
        draws = losses.draw_consistency_training(key, batch.y.shape, constants)
        return losses.consistency_training_loss(
            params, batch, draws, model=model, target_params=ema, config=constants
        )

    def of_a_teacher(loss: Callable[..., tuple[jax.Array, Metrics]], **constants: Any) -> Loss:
        def objective(params, ema, frozen, batch, key):
            del ema, frozen
            return loss(params, batch, losses.draw_score(key, batch.y.shape, model), model=model, **constants)

        return objective

    objectives: dict[str, Loss] = {
        "score": of_a_teacher(losses.score_loss, config=config.denoiser),
        "score-matching": of_a_teacher(losses.score_matching_loss),
        "data-prediction": of_a_teacher(losses.data_prediction_loss, config=config.data_prediction),
        "consistency-training": training,
    }
    if config.objective == "distillation":
        return _distillation(config, model, teacher, platform or jax.default_backend(), step)
    return objectives[config.objective]


def _distillation(
    config: TrainConfig,
    model: ScoreModel,
    teacher: ScoreModel | None,
    platform: str,
    step: TeacherStep | None,
) -> Loss:
    """Return the objective of distillation; arguments as in `make_loss`."""
    if teacher is None:
        stored = open_any_checkpoint(config.teacher).config
        teacher = ScoreModel(stored, model.module if stored.own_network else None)
    frozen_model, constants = teacher, config.distillation
    make_target = target_in_sequence
    if step is not None:
        make_target = functools.partial(target_in_sequence, step=step)
    elif platform != "cpu" and teacher.network == model.network and constants.solver == "pc":
        make_target = target_in_one_loop

    def distillation(params, ema, frozen, batch, key):
        draws = losses.draw_distillation(key, batch.y.shape, constants)
        return losses.distillation_loss(
            params,
            batch,
            draws,
            model=model,
            target_params=ema,
            teacher=frozen_model,
            teacher_params=frozen,
            config=constants,
            make_target=make_target,
        )

    return distillation


class Step(NamedTuple):
    """The jitted programs of a run on a mesh; each is pure.

    The state's weights have the given `layout`: one vector, or trees if they are sharded over devices. An
    update's batches are looped over on the host: only one batch's activations are alive at a time, and XLA's
    CPU backend has no fast gradient of a convolution inside a loop.

    Attributes:
      init: (params, key data uint32) -> initial TrainState.
      zeros: the state's weights -> a gradient of zeros in the same layout.
      add_gradient: (total, state, teacher's params, waves, number i of the batch in its update) -> (total
        plus the batch's gradient, the loss terms). `total` is donated.
      apply: (state, total, the batches' terms) -> (new state, metrics). `state` is donated.
      loss: (state, teacher's params, waves, key data uint32) -> the loss terms of the moving average.
      shardings: shardings of the state, leaf by leaf.
      layout: layout of the state's weights.
    """

    init: Callable[[Params, np.ndarray], TrainState]
    zeros: Callable[[Any], Any]
    add_gradient: Callable[[Any, TrainState, Params, Waves, jax.Array], tuple[Any, Metrics]]
    apply: Callable[[TrainState, Any, list[Metrics]], tuple[TrainState, Metrics]]
    loss: Callable[[TrainState, Params, Waves, np.ndarray], Metrics]
    shardings: TrainState
    layout: Layout

    def __call__(self, state: TrainState, frozen: Params, batches: list[Waves]) -> tuple[TrainState, Metrics]:
        """Run one update from its batches."""
        total, terms = self.zeros(state.params), []
        for i, waves in enumerate(batches):
            total, metrics = self.add_gradient(total, state, frozen, waves, jnp.int32(i))
            terms.append(metrics)
        return self.apply(state, total, terms)


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """A step as a pure function for custom training loops, under jit, vmap, pmap and shard_map.

    Call: (state, teacher's params, waves, key) -> (new state, metrics), the metrics a dict of scalars. The
    state is a `TrainState` whose weights are trees; its own key is not used. Pass a new key at each step.

    Attributes:
      init: (params, key) -> initial state.
      loss: (params, ema, teacher's params, batch, key) -> (loss, terms).
      apply: (state, gradient, terms) -> (new state, metrics).
      analyze: wave float32 [B, samples] -> spectrogram complex64 [B, F, T].
      axis: name of the axis of pmap or shard_map over which gradients and terms are averaged; "" for none.
    """

    init: Callable[[Params, jax.Array], TrainState]
    loss: Loss
    apply: Callable[[TrainState, Any, Metrics], tuple[TrainState, Metrics]]
    analyze: Callable[[jax.Array], jax.Array]
    axis: str = ""

    def __call__(
        self, state: TrainState, frozen: Params, waves: Waves, key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        batch = Batch(*(self.analyze(jnp.asarray(wave)) for wave in waves))
        gradient_of = jax.grad(self.loss, has_aux=True)
        gradient, terms = gradient_of(state.params, state.ema, frozen, batch, key)
        if self.axis:
            gradient, terms = jax.lax.pmean((gradient, terms), self.axis)
        return self.apply(state, gradient, terms)


def make_train_step(
    config: TrainConfig,
    model: ScoreModel | None = None,
    teacher: ScoreModel | None = None,
    functions: Functions = AS_CONFIGURED,
    *,
    axis: str = "",
    platform: str | None = None,
) -> TrainStep:
    """Build a pure step from a config, or from user-defined functions.

    Args:
      config: its model, objective, constants, teacher and optimizer are used, but not
        `optimizer.accumulate`.
      model: the trained model; None: the config's, with the network of `functions`.
      teacher: as for `make_loss`; its weights are an argument of the step.
      axis: see `TrainStep`.
      platform: see `make_loss`.

    Raises:
      ValueError: if a function is invalid.
    """
    model = model or ScoreModel(config.model, functions.network)
    own = built_optimizer(functions)
    optimizer = own or make_optimizer(config.optimizer)
    objective = functions.loss or make_loss(config, model, teacher, platform, functions.teacher_step)

    def loss(params: Params, ema: Params, frozen: Params, batch: Batch, key: jax.Array):
        value, terms = objective(params, ema, frozen, batch, key)
        return value, {"loss": value, **terms}

    def init(params: Params, key: jax.Array) -> TrainState:
        return init_state(params, optimizer, key)

    def apply(state: TrainState, gradient: Any, terms: Metrics) -> tuple[TrainState, Metrics]:
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(terms["loss"]) & jnp.isfinite(norm)
        new = update(state, gradient, optimizer, config.optimizer.ema_decay, finite)
        metrics = {**terms, "gradient_norm": norm}
        if own is None:
            rate = learning_rate(config.optimizer)(state.step - state.skipped)
            metrics["learning_rate"] = jnp.float32(rate)
        return new, metrics | {"skipped": new.skipped, "skipped_in_a_row": new.skipped_in_a_row}

    return TrainStep(init, loss, apply, model.front_end.analyze, axis)


def make_step(
    config: TrainConfig,
    model: ScoreModel,
    teacher: ScoreModel | None,
    mesh: jax.sharding.Mesh,
    functions: Functions = AS_CONFIGURED,
) -> Step:
    """Build the programs of a config for a mesh; each is compiled at its first call."""
    platform = mesh.devices.flat[0].platform
    pure = make_train_step(config, model, teacher, functions, platform=platform)
    gradient_of = jax.value_and_grad(pure.loss, has_aux=True)
    everywhere = replicated(mesh)
    weights = jax.eval_shape(model.init, jax.random.key(0))
    trees = config.sharding == "fsdp" or functions.optimizer or functions.network
    layout = TREES if trees else one_vector(weights)

    def init(params: Params, key_data: jax.Array) -> TrainState:
        return pure.init(layout.pack(params), jax.random.wrap_key_data(key_data))

    state = jax.eval_shape(init, weights, jax.ShapeDtypeStruct((2,), jnp.uint32))
    check_storable(state.opt_state)
    shardings = state_shardings(mesh, state, config.sharding)

    # Weights are gathered before use; otherwise the partitioner may move activations instead.
    gather = functools.partial(jax.lax.with_sharding_constraint, shardings=everywhere)

    def terms_of(function: Any, params: Params, state: TrainState, frozen: Params, waves: Waves, key: Any):
        with in_context(mesh):
            batch = Batch(*(pure.analyze(jnp.asarray(wave)) for wave in waves))
            weights = (layout.unpack(gather(packed)) for packed in (params, state.ema))
            return function(*weights, gather(frozen), batch, key)

    def add_gradient(total: Any, state: TrainState, frozen: Params, waves: Waves, i: jax.Array):
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), i)
        (_, metrics), gradient = terms_of(gradient_of, state.params, state, frozen, waves, key)
        return jax.tree.map(jnp.add, total, layout.pack(gradient)), metrics

    def apply(state: TrainState, total: Any, terms: list[Metrics]) -> tuple[TrainState, Metrics]:
        gradient = jax.tree.map(lambda g: g / len(terms), total)
        means = jax.tree.map(lambda *values: sum(values) / len(values), *terms)
        return pure.apply(state, gradient, means)

    def validation_loss(state: TrainState, frozen: Params, waves: Waves, key_data: jax.Array) -> Metrics:
        key = jax.random.wrap_key_data(key_data)
        return terms_of(pure.loss, state.ema, state, frozen, waves, key)[1]

    return Step(
        init=jax.jit(init, out_shardings=shardings),
        zeros=jax.jit(lambda params: jax.tree.map(jnp.zeros_like, params), out_shardings=shardings.params),
        add_gradient=jax.jit(
            add_gradient,
            donate_argnums=0,
            out_shardings=(shardings.params, everywhere),
            compiler_options=COMPILER_OPTIONS.get(platform),
        ),
        apply=jax.jit(apply, donate_argnums=0, out_shardings=(shardings, everywhere)),
        loss=jax.jit(validation_loss, out_shardings=everywhere),
        shardings=shardings,
        layout=layout,
    )
