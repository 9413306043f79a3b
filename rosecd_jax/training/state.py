"""State of a training run, and its update."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rosecd_jax.models.score_model import Params
from rosecd_jax.training.config import OptimizerConfig


class TrainState(NamedTuple):
    """State of a training run; a pytree.

    Attributes:
      step: number of steps so far, int32.
      skipped: number of steps skipped because the loss, gradient or new weights were not finite, int32.
      skipped_in_a_row: number of these in a row up to the last step, int32.
      params: weights of the network.
      ema: moving average of the weights.
      opt_state: optax's state of the optimizer.
      key: PRNG key of the run; folded with the numbers of step and batch. `TrainStep` takes its own.
    """

    step: jax.Array
    skipped: jax.Array
    skipped_in_a_row: jax.Array
    params: Params
    ema: Params
    opt_state: optax.OptState
    key: jax.Array


def learning_rate(config: OptimizerConfig) -> optax.Schedule:
    """Return the learning rate's schedule: warm-up, then constant or cosine decay."""
    if config.decay_steps:
        return optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, config.warmup_steps, config.decay_steps
        )
    if config.warmup_steps:
        return optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    return optax.constant_schedule(config.learning_rate)


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Return Adam with the config's schedule and clipping.

    The state has the same structure with and without clipping, so that it can be changed on resuming.
    """
    adam = optax.chain(optax.adam(learning_rate(config)))
    if not config.gradient_clip:
        return adam
    clip = optax.clip_by_global_norm(config.gradient_clip)

    def update(updates: Params, state: optax.OptState, params: Params | None = None):
        clipped, _ = clip.update(updates, optax.EmptyState())
        return adam.update(clipped, state, params)

    return optax.GradientTransformation(adam.init, update)


def init_state(params: Params, optimizer: optax.GradientTransformation, key: jax.Array) -> TrainState:
    """Return the initial state; the moving average starts at the weights."""
    copy = jax.tree.map(jnp.copy, params)  # the state is donated, so its buffers have to be distinct
    zero = jnp.int32(0)
    return TrainState(zero, zero, zero, params, copy, optimizer.init(params), key)


def ema_decay(update: jax.Array, largest: float) -> jax.Array:
    """Return min(largest, (1 + k) / (10 + k)) at update k = 1, 2, …, to forget the initial weights early."""
    k = update.astype(jnp.float32)
    return jnp.minimum(largest, (1 + k) / (10 + k))


def update(
    state: TrainState,
    gradients: Params,
    optimizer: optax.GradientTransformation,
    largest_decay: float,
    finite: jax.Array | bool = True,
) -> TrainState:
    """Update the weights, optimizer and moving average if `finite`; otherwise only the counts.

    A step whose new weights are not finite is skipped, too.
    """
    with jax.named_scope("optimizer"):
        changes, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, changes)
    step = state.step + 1
    decay = ema_decay(step - state.skipped, largest_decay)
    with jax.named_scope("moving_average"):
        ema = jax.tree.map(lambda average, new: average - (1 - decay) * (average - new), state.ema, params)
    finite &= jnp.isfinite(optax.tree.norm(params))
    skip = 1 - finite.astype(jnp.int32)
    learnt, before = (params, ema, opt_state), (state.params, state.ema, state.opt_state)
    params, ema, opt_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), learnt, before)
    in_a_row = skip * (state.skipped_in_a_row + skip)
    return TrainState(step, state.skipped + skip, in_a_row, params, ema, opt_state, state.key)
