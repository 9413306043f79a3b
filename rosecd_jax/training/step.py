"""One step of training: an objective's gradient, and the update that it makes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rosecd_jax import losses
from rosecd_jax.losses.batch import Batch
from rosecd_jax.losses.distillation import target_in_one_loop, target_in_sequence
from rosecd_jax.models.score_model import Params, ScoreModel
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.devices import replicated, state_shardings
from rosecd_jax.training.flat import TREES, Layout, one_vector
from rosecd_jax.training.state import TrainState, init_state, learning_rate, make_optimizer, update

Metrics = dict[str, jax.Array]
Loss = Callable[[Params, Params, Params, Batch, jax.Array], tuple[jax.Array, Metrics]]
"""(params, moving average, teacher's params, batch, key) -> (loss, its terms)."""

COMPILER_OPTIONS = {"cpu": {"xla_disable_hlo_passes": "cse_barrier_expander"}}
"""XLA's CPU backend drops optimization barriers before it fuses; `layers.computed_once` needs them."""


class Waves(NamedTuple):
    """A batch of paired crops, float32 [B, samples]."""

    clean: jax.Array | np.ndarray
    noisy: jax.Array | np.ndarray


def make_loss(config: TrainConfig, model: ScoreModel, teacher: ScoreModel | None, platform: str) -> Loss:
    """The objective that a config names, as one function; it draws and then calls the pure loss.

    On accelerators distillation loops over the calls of frozen networks where it can: it compiles in less
    time. On a CPU it would gain less, and steps would take longer.
    """
    equal = teacher is not None and teacher.config.network == model.config.network
    loop = platform != "cpu" and equal and config.distillation.solver == "pc"
    make_target = target_in_one_loop if loop else target_in_sequence

    def distillation(params, ema, frozen, batch, key):
        constants = config.distillation
        draws = losses.draw_distillation(key, batch.y.shape, constants)
        assert teacher is not None
        return losses.distillation_loss(
            params,
            batch,
            draws,
            model=model,
            target_params=ema,
            teacher=teacher,
            teacher_params=frozen,
            config=constants,
            make_target=make_target,
        )

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
        "distillation": distillation,
        "consistency-training": training,
    }
    return objectives[config.objective]


class Step(NamedTuple):
    """The jitted programs of a run on a mesh; every one is pure.

    The state's weights lie as `layout` says: one vector, or the network's trees where they are divided among
    devices. An update's batches follow one another on the host: only one's activations are alive at a time,
    and XLA's CPU backend, which has no fast gradient of a convolution inside a loop, is not given one.

    Attributes:
      init: (params, key data uint32) -> TrainState at its beginning.
      zeros: the state's weights -> a gradient of zeros that lies as they do.
      add_gradient: (total, state, teacher's params, waves, number i of the batch in its update) -> (total
        plus the batch's gradient, the loss' terms). `total` is donated.
      apply: (state, total, the batches' terms) -> (new state, metrics). `state` is donated.
      loss: (state, teacher's params, waves, key data uint32) -> the loss' terms of the moving average.
      shardings: of the state, leaf by leaf.
      layout: how the state's weights lie.
    """

    init: Callable[[Params, np.ndarray], TrainState]
    zeros: Callable[[Any], Any]
    add_gradient: Callable[[Any, TrainState, Params, Waves, jax.Array], tuple[Any, Metrics]]
    apply: Callable[[TrainState, Any, list[Metrics]], tuple[TrainState, Metrics]]
    loss: Callable[[TrainState, Params, Waves, np.ndarray], Metrics]
    shardings: TrainState
    layout: Layout

    def __call__(self, state: TrainState, frozen: Params, batches: list[Waves]) -> tuple[TrainState, Metrics]:
        """One update from its batches."""
        total, terms = self.zeros(state.params), []
        for i, waves in enumerate(batches):
            total, metrics = self.add_gradient(total, state, frozen, waves, jnp.int32(i))
            terms.append(metrics)
        return self.apply(state, total, terms)


def make_step(
    config: TrainConfig, model: ScoreModel, teacher: ScoreModel | None, mesh: jax.sharding.Mesh
) -> Step:
    """Bind a config to a mesh. Nothing is compiled before a program's first call."""
    optimizer = make_optimizer(config.optimizer)
    platform = mesh.devices.flat[0].platform
    loss = make_loss(config, model, teacher, platform)
    gradient_of = jax.value_and_grad(loss, has_aux=True)
    everywhere = replicated(mesh)
    weights = jax.eval_shape(model.init, jax.random.key(0))
    layout = TREES if config.sharding == "fsdp" else one_vector(weights)

    def init(params: Params, key_data: jax.Array) -> TrainState:
        return init_state(layout.pack(params), optimizer, jax.random.wrap_key_data(key_data))

    state = jax.eval_shape(init, weights, jax.ShapeDtypeStruct((2,), jnp.uint32))
    shardings = state_shardings(mesh, state, config.sharding)

    def gather(params: Params) -> Params:
        """Weights are whole while they are used; the partitioner may else move activations instead."""
        return jax.lax.with_sharding_constraint(params, everywhere)

    def terms_of(function: Any, params: Params, state: TrainState, frozen: Params, waves: Waves, key: Any):
        batch = Batch(*(model.front_end.analyze(jnp.asarray(wave)) for wave in waves))
        weights = (layout.unpack(gather(packed)) for packed in (params, state.ema))
        return function(*weights, gather(frozen), batch, key)

    def add_gradient(total: Any, state: TrainState, frozen: Params, waves: Waves, i: jax.Array):
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), i)
        (_, metrics), gradient = terms_of(gradient_of, state.params, state, frozen, waves, key)
        return jax.tree.map(jnp.add, total, layout.pack(gradient)), metrics

    def apply(state: TrainState, total: Any, terms: list[Metrics]) -> tuple[TrainState, Metrics]:
        gradient = jax.tree.map(lambda g: g / len(terms), total)
        means = jax.tree.map(lambda *values: sum(values) / len(values), *terms)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(means["loss"]) & jnp.isfinite(norm)
        rate = learning_rate(config.optimizer)(state.step - state.skipped)
        new = update(state, gradient, optimizer, config.optimizer.ema_decay, finite)
        counts = {"skipped": new.skipped, "skipped_in_a_row": new.skipped_in_a_row}
        return new, {**means, "learning_rate": jnp.float32(rate), "gradient_norm": norm, **counts}

    def validation_loss(state: TrainState, frozen: Params, waves: Waves, key_data: jax.Array) -> Metrics:
        key = jax.random.wrap_key_data(key_data)
        return terms_of(loss, state.ema, state, frozen, waves, key)[1]

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
