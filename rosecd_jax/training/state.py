"""All that a training run must remember, and how one update changes it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rosecd_jax.models.score_model import Params
from rosecd_jax.training.config import OptimiserConfig


class TrainState(NamedTuple):
    """A pytree.

    Attributes:
      step: updates made so far, int32.
      params: weights of the network.
      ema: their moving average.
      optimiser: optax's state.
      key: PRNG key of the run; step k draws from fold_in(key, k).
    """

    step: jax.Array
    params: Params
    ema: Params
    optimiser: optax.OptState
    key: jax.Array


def make_optimiser(config: OptimiserConfig) -> optax.GradientTransformation:
    """Adam with the config's learning rate over time and clipping."""
    rate: optax.ScalarOrSchedule = config.learning_rate
    if config.decay_steps:
        rate = optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, config.warmup_steps, config.decay_steps
        )
    elif config.warmup_steps:
        rate = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    clip = [optax.clip_by_global_norm(config.gradient_clip)] if config.gradient_clip else []
    return optax.chain(*clip, optax.adam(rate))


def init_state(params: Params, optimiser: optax.GradientTransformation, key: jax.Array) -> TrainState:
    """A run at its beginning; the moving average starts at the weights."""
    copy = jax.tree.map(jnp.copy, params)  # the state is donated, so no buffer may stand in it twice
    return TrainState(jnp.int32(0), params, copy, optimiser.init(params), key)


def ema_decay(step: jax.Array, largest: float) -> jax.Array:
    """min(largest, (1 + k) / (10 + k)) at update k = 1, 2, …, so that an early average is not its start."""
    k = step.astype(jnp.float32)
    return jnp.minimum(largest, (1 + k) / (10 + k))


def update(
    state: TrainState, gradients: Params, optimiser: optax.GradientTransformation, largest_decay: float
) -> TrainState:
    """One update of weights and moving average."""
    changes, optimiser_state = optimiser.update(gradients, state.optimiser, state.params)
    params = optax.apply_updates(state.params, changes)
    step = state.step + 1
    decay = ema_decay(step, largest_decay)
    ema = jax.tree.map(lambda average, new: average - (1 - decay) * (average - new), state.ema, params)
    return TrainState(step, params, ema, optimiser_state, state.key)
