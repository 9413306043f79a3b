"""rosecd_jax.models.initial: weights drawn on the host, the same everywhere."""

import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.models import ModelConfig, ScoreModel
from rosecd_jax.models.layers import ResidualBlock
from tests.helpers import TINY, flat


def test_a_key_gives_the_same_parameters_in_every_process_and_under_jit():
    here = flat(TINY.init(jax.random.key(7)))
    under_jit = flat(jax.jit(TINY.init)(jax.random.key(7)))
    for name, value in here.items():
        np.testing.assert_array_equal(value, under_jit[name], err_msg=name)
    program = (
        "import jax, numpy, tests.helpers as h; "
        "print(numpy.asarray(h.TINY.init(jax.random.key(7))['middle_block_0']['conv_0']['kernel']).tobytes().hex())"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert np.asarray(here["middle_block_0/conv_0/kernel"]).tobytes().hex() == there.strip()


def test_keys_and_names_give_different_values():
    first, second = (flat(TINY.init(jax.random.key(seed))) for seed in (0, 1))
    kernels = [name for name in first if name.endswith("kernel")]
    assert all(not np.array_equal(first[name], second[name]) for name in kernels)
    same_shape = first["middle_block_0/conv_0/kernel"], first["middle_block_1/conv_0/kernel"]
    assert not np.array_equal(*same_shape)


def test_values_are_uniform_with_the_variance_of_their_layer():
    params = flat(ScoreModel(ModelConfig()).init(jax.random.key(0)))
    for name, value in params.items():
        layer, kind = name.split("/")[-2:]
        if kind == "bias":
            assert not value.any(), name
        elif kind == "scale":
            np.testing.assert_array_equal(value, 1, err_msg=name)
        elif kind == "kernel":
            fan_in, fan_out = np.prod(value.shape[:-2]) * np.array(value.shape[-2:])
            nothing = layer in ("conv_1", "out") or (layer.startswith("up") and layer.endswith("pyramid"))
            scale = 1e-10 if nothing else 0.1 if layer in ("query", "key", "value") else 1.0
            fan = fan_in if layer == "output" else (fan_in + fan_out) / 2
            limit = np.sqrt((1.0 if layer == "output" else 3 * scale) / fan)
            assert np.abs(value).max() <= limit * (1 + 1e-6), name
            if value.size > 1000:
                assert np.std(value) == pytest.approx(limit / np.sqrt(3), rel=0.1), name
    assert np.std(params["time/frequencies"]) == pytest.approx(16, rel=0.3)


def test_the_full_size_network_is_initialized_in_seconds():
    start = time.process_time()  # other processes may be at work
    params = ScoreModel(ModelConfig()).init(jax.random.key(0))
    assert time.process_time() - start < 5
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 65_590_822


def test_many_seeds_at_once_are_those_of_each():
    keys = jax.random.split(jax.random.key(0), 2)
    together = flat(jax.vmap(TINY.init)(keys))
    for i, key in enumerate(keys):
        for name, value in flat(TINY.init(key)).items():
            np.testing.assert_array_equal(together[name][i], value, err_msg=name)


def test_a_module_alone_is_initialized_by_flax_with_plain_arrays():
    block, x, embedding = ResidualBlock(8), jnp.zeros((1, 4, 4, 8)), jnp.zeros((1, 16))
    params = block.init(jax.random.key(0), x, embedding)["params"]
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
    assert np.std(params["conv_0"]["kernel"]) == pytest.approx(np.sqrt(1 / 72), rel=0.1)
