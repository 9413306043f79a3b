"""rosecd_jax.training.state: Adam and the moving average are the authors'."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.training import OptimizerConfig
from rosecd_jax.training.state import ema_decay, init_state, make_optimizer, update
from tests.goldens.packing import golden
from tests.helpers import relative_error

GOLDEN = golden("optimiser")
KEY = jax.random.key(0)


def run(config, params, gradients):
    """The states after each update."""
    optimizer = make_optimizer(config)
    state = init_state(params, optimizer, KEY)
    step = jax.jit(lambda state, gradient: update(state, gradient, optimizer, config.ema_decay))
    states = []
    for gradient in gradients:
        state = step(state, gradient)
        states.append(state)
    return states


@pytest.mark.fidelity
def test_five_updates_agree_with_the_authors(agree):
    params, config = GOLDEN["params"], OptimizerConfig(learning_rate=1e-4, ema_decay=0.999)
    states = run(config, params[0], GOLDEN["grads"])
    for i, state in enumerate(states):
        assert state.step == i + 1
        # What has changed is small beside the weights: rounded at 1e-7 of them, so 2e-3 of itself.
        assert relative_error(state.params - params[0], params[i + 1] - params[0]) < 2e-3
        assert relative_error(state.ema - params[0], GOLDEN["ema"][i] - params[0]) < 2e-3
    agree("optimizer: weights", np.stack([state.params for state in states]), params[1:], 1e-6)
    agree("optimizer: moving average", np.stack([state.ema for state in states]), GOLDEN["ema"], 1e-6)


@pytest.mark.parametrize("k", [1, 2, 10, 100, 5000, 8989])
def test_the_decay_of_the_average_rises_with_the_updates(k):
    assert ema_decay(jnp.int32(k), 0.999) == pytest.approx((1 + k) / (10 + k), rel=1e-6)


@pytest.mark.parametrize("k", [8992, 10**5, 10**7])
def test_the_decay_of_the_average_has_a_largest_value(k):
    assert ema_decay(jnp.int32(k), 0.999) == np.float32(0.999)


def test_a_run_begins_with_the_average_at_the_weights_in_another_buffer():
    params = {"w": jnp.ones(3)}
    state = init_state(params, make_optimizer(OptimizerConfig()), KEY)
    assert state.step == 0
    np.testing.assert_array_equal(state.ema["w"], params["w"])
    assert state.ema["w"] is not state.params["w"]
    assert state.ema["w"].unsafe_buffer_pointer() != state.params["w"].unsafe_buffer_pointer()


def test_an_update_keeps_the_key():
    (state,) = run(OptimizerConfig(), jnp.ones(3), [jnp.ones(3)])
    assert state.key == KEY


def test_a_step_that_is_not_finite_changes_nothing_but_the_counts():
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2))
    step = jax.jit(lambda state, g, finite: update(state, g, optimizer, 0.9, finite))
    learnt = step(init_state(jnp.ones(3), optimizer, KEY), jnp.ones(3), True)
    skipped = step(step(learnt, jnp.full(3, jnp.nan), False), jnp.full(3, jnp.inf), False)
    assert (skipped.step, skipped.skipped, skipped.skipped_in_a_row) == (3, 2, 2)
    for name in ("params", "ema", "opt_state"):
        same = zip(*(jax.tree.leaves(getattr(s, name)) for s in (learnt, skipped)), strict=True)
        assert all(np.array_equal(a, b) for a, b in same)
    resumed = step(skipped, jnp.ones(3), True)
    assert (resumed.skipped, resumed.skipped_in_a_row) == (2, 0)
    without = step(learnt, jnp.ones(3), True)  # the ramp of the average counts updates, not steps
    np.testing.assert_array_equal(resumed.ema, without.ema)


@pytest.mark.parametrize("rate", [1e30, 1e38])
def test_weights_that_would_overflow_are_not_taken(rate):
    """Only their norm shows it; loss and gradient are finite."""
    (before,), (after,) = (
        run(OptimizerConfig(learning_rate=r, ema_decay=0.9), jnp.ones(3), [jnp.ones(3)]) for r in (0.0, rate)
    )
    assert (before.skipped, after.skipped, after.skipped_in_a_row) == (0, 1, 1)
    np.testing.assert_array_equal(after.params, before.params)
    np.testing.assert_array_equal(after.ema, before.ema)


def test_warm_up_raises_the_learning_rate_from_zero():
    config = OptimizerConfig(learning_rate=1e-2, warmup_steps=4)
    states = run(config, jnp.zeros(1), [jnp.ones(1)] * 6)
    sizes = -np.diff([0.0, *(float(state.params[0]) for state in states)])
    np.testing.assert_allclose(sizes, [0, 0.0025, 0.005, 0.0075, 0.01, 0.01], rtol=1e-4, atol=1e-9)


def test_clipping_bounds_the_gradient_before_adam_sees_it():
    gradients = [jnp.array([3.0, 4.0]), jnp.array([0.3, 0.4])]
    clipped = run(OptimizerConfig(gradient_clip=0.5), jnp.zeros(2), gradients)
    expected = run(OptimizerConfig(), jnp.zeros(2), [gradients[0] / 10, gradients[1]])
    np.testing.assert_allclose(clipped[-1].params, expected[-1].params, rtol=1e-5)


def test_decay_lowers_the_learning_rate_to_zero_along_a_cosine():
    config = OptimizerConfig(learning_rate=1e-2, warmup_steps=2, decay_steps=6)
    states = run(config, jnp.zeros(1), [jnp.ones(1)] * 8)
    sizes = -np.diff([0.0, *(float(state.params[0]) for state in states)])
    cosine = 0.005 * (1 + np.cos(np.pi * np.arange(4) / 4))
    np.testing.assert_allclose(sizes, [0, 0.005, *cosine, 0, 0], rtol=1e-4, atol=1e-8)
