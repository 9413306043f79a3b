"""rosecd_jax.training.flat: weights as one vector, and back."""

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.training import OptimizerConfig
from rosecd_jax.training.flat import TREES, one_vector
from rosecd_jax.training.state import init_state, make_optimizer, update

PARAMS = {"b": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "a": jnp.float32(7.0), "c": jnp.arange(4.0)}
LAYOUT = one_vector(PARAMS)
OPTIMIZER = make_optimizer(OptimizerConfig(learning_rate=0.1))


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_unpacking_is_the_reverse_of_packing_under_jit_and_outside():
    vector = jax.jit(LAYOUT.pack)(PARAMS)
    assert vector.shape == (11,)
    assert_same(jax.jit(LAYOUT.unpack)(vector), PARAMS)
    assert_same(LAYOUT.unpack(np.asarray(vector)), PARAMS)


def test_a_state_of_a_vector_learns_as_one_of_trees_and_is_stored_alike():
    gradient = jax.tree.map(jnp.ones_like, PARAMS)
    trees = init_state(PARAMS, OPTIMIZER, jax.random.key(0))
    vector = init_state(LAYOUT.pack(PARAMS), OPTIMIZER, jax.random.key(0))
    for _ in range(3):
        trees = update(trees, gradient, OPTIMIZER, 0.9)
        vector = update(vector, LAYOUT.pack(gradient), OPTIMIZER, 0.9)
    stored = LAYOUT.to_trees(vector)
    assert jax.tree.structure(stored) == jax.tree.structure(trees)
    for one, other in zip(jax.tree.leaves(stored), jax.tree.leaves(TREES.to_trees(trees)), strict=True):
        if one is not stored.key:
            np.testing.assert_allclose(one, other, rtol=1e-6)
    back = LAYOUT.from_trees(stored, vector)
    assert_same(back._replace(key=0), vector._replace(key=0))
    assert back.params.sharding == vector.params.sharding


def test_what_is_stored_does_not_change_with_the_state():
    state = jax.jit(lambda: init_state(LAYOUT.pack(PARAMS), OPTIMIZER, jax.random.key(0)))()
    stored = LAYOUT.to_trees(state)
    step = jax.jit(lambda s: update(s, jnp.ones(11), OPTIMIZER, 0.9), donate_argnums=0)
    step(state)
    assert_same(stored.params, jax.tree.map(np.asarray, PARAMS))
