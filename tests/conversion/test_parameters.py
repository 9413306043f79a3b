"""rosecd_jax.conversion.parameters: every parameter of the authors finds its place among ours."""

import jax
import numpy as np
import pytest

from rosecd_jax.conversion import parameter_names, params_from_torch
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from tests.goldens import packing
from tests.helpers import NETWORK, TEACHER, flat

SIZES = [
    NCSNppConfig(),
    NETWORK,
    NCSNppConfig(channels=4, multipliers=(1, 2, 1), blocks=1, attention_heights=(256, 64)),
    NCSNppConfig(channels=4, multipliers=(1, 2), blocks=3, attention_heights=()),
]


def our_shapes(size):
    params = jax.eval_shape(ScoreModel(ModelConfig(network=size)).init, jax.random.key(0))
    return {name: leaf.shape for name, leaf in flat_shapes(params).items()}


def flat_shapes(params):
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {"/".join(part.key for part in path): leaf for path, leaf in leaves}


def their_state(size):
    """A state dict of the authors whose arrays have distinct values."""
    generator = np.random.default_rng(0)
    state = {}
    for name, ours in parameter_names(size).items():
        shape = our_shapes_of[size][ours]
        if name.endswith("weight") and len(shape) > 1:
            shape = (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape[::-1]
        state[name] = generator.normal(size=shape).astype(np.float32)
    return state


our_shapes_of = {size: our_shapes(size) for size in SIZES}
every_size = pytest.mark.parametrize("size", SIZES, ids=["published", "golden", "attentive", "deep"])


@every_size
def test_their_names_and_ours_pair_one_to_one(size):
    names = parameter_names(size)
    assert len(set(names.values())) == len(names)
    assert set(names.values()) == set(our_shapes_of[size])


@every_size
def test_the_shapes_are_those_of_a_fresh_model(size):
    params = params_from_torch(their_state(size), size)
    assert {name: leaf.shape for name, leaf in flat(params).items()} == our_shapes_of[size]
    assert all(leaf.dtype == np.float32 for leaf in flat(params).values())


def test_every_number_arrives_where_its_name_says():
    state = their_state(NETWORK)
    params = flat(params_from_torch(state, NETWORK))
    for name, ours in parameter_names(NETWORK).items():
        theirs = state[name]
        if theirs.ndim == 4:
            theirs = np.moveaxis(theirs, (0, 1), (3, 2))
        elif name.endswith("weight"):
            theirs = theirs.T
        np.testing.assert_array_equal(params[ours], theirs)


@pytest.mark.parametrize("network", ["teacher", "student", "target", "sb"])
def test_the_authors_networks_hold_exactly_these_names(network):
    assert sorted(packing.network(network)[0]) == sorted(parameter_names(NETWORK))


def test_the_authors_parameters_fit_the_model(networks):
    expected = jax.eval_shape(TEACHER.init, jax.random.key(0))
    assert jax.tree.map(np.shape, networks["teacher"]) == jax.tree.map(lambda s: s.shape, expected)


def test_missing_and_unknown_parameters_are_named():
    state = their_state(NETWORK)
    del state["output_layer.bias"]
    state["all_modules.99.weight"] = np.zeros(3)
    message = r"missing: \['output_layer.bias'\], unknown: \['all_modules.99.weight'\]"
    with pytest.raises(ValueError, match=message):
        params_from_torch(state, NETWORK)
