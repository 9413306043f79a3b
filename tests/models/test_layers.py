"""rosecd_jax.models.layers: each block against an explicit computation."""

import flax.linen as nn
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import scipy.special
from jax.test_util import check_grads

from rosecd_jax.models import layers
from rosecd_jax.models.layers import (
    AttentionBlock,
    GroupNorm,
    ResidualBlock,
    TimeEmbedding,
    downsample,
    upsample,
)
from tests.helpers import quick_jit, relative_error

FIR = np.array([1.0, 3.0, 3.0, 1.0])


def image(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def initialized(module, *inputs):
    """A module with random parameters -> (params, result)."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    generator = np.random.default_rng(1)
    params = jax.tree.map(lambda s: generator.normal(scale=0.3, size=s.shape).astype(np.float32), shapes)
    return params, quick_jit(module.apply)({"params": params}, *inputs)


def fir_up(x):
    for axis in (1, 2):
        filtered = scipy.signal.upfirdn(FIR / 4, x, up=2, axis=axis)
        x = np.take(filtered, np.arange(1, 1 + 2 * x.shape[axis]), axis)
    return x


def fir_down(x):
    for axis in (1, 2):
        filtered = scipy.signal.upfirdn(FIR / 8, x, axis=axis)
        x = np.take(filtered, np.arange(2, 2 + x.shape[axis], 2), axis)
    return x


@pytest.mark.parametrize("shape", [(1, 2, 2, 1), (2, 8, 6, 3), (1, 4, 10, 5)])
def test_resampling_is_convolution_with_the_fir_filter(shape):
    x = image(*shape)
    assert relative_error(upsample(x), fir_up(x.astype(np.float64))) < 1e-6
    assert relative_error(downsample(x), fir_down(x.astype(np.float64))) < 1e-6


def test_downsampling_is_a_quarter_of_the_transpose_of_upsampling():
    x, y = image(1, 8, 6, 2), image(1, 4, 3, 2, seed=1)
    assert relative_error(np.sum(downsample(x) * y), np.sum(x * upsample(y)) / 4) < 1e-4


@pytest.mark.parametrize(("resample", "size"), [(upsample, (2, 4, 6, 3)), (downsample, (2, 8, 6, 3))])
def test_the_gradient_of_resampling_is_its_transpose(resample, size):
    x = image(*size)
    result, transpose = jax.vjp(resample, x)
    y = image(*result.shape, seed=1)
    matrix = jax.jacfwd(resample.fun)(x).reshape(y.size, x.size)
    assert relative_error(transpose(y)[0], (y.ravel() @ matrix).reshape(x.shape)) < 1e-6
    check_grads(lambda x: jnp.square(resample(x)), (x,), order=2, eps=1e-2, rtol=1e-2)


def test_resampling_keeps_a_constant_inside():
    np.testing.assert_allclose(upsample(jnp.ones((1, 8, 8, 1)))[:, 1:-1, 1:-1], 1, rtol=1e-6)
    np.testing.assert_allclose(downsample(jnp.ones((1, 8, 8, 1)))[:, 1:-1, 1:-1], 1, rtol=1e-6)


@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (8, 2), (128, 32), (256, 32)])
def test_group_norm_is_flax_group_norm(channels, groups):
    x = 3 * image(2, 6, 5, channels) + 1
    params, result = initialized(GroupNorm(), x)
    expected = nn.GroupNorm(num_groups=groups, epsilon=1e-6).apply({"params": params}, x)
    assert relative_error(result, expected) < 1e-5


@hypothesis.given(st.floats(-3, 3), st.floats(0.1, 100), st.integers(0, 100))
@hypothesis.settings(deadline=None, max_examples=20)
def test_group_norm_does_not_see_offset_and_scale(offset, scale, seed):
    x = image(1, 4, 4, 4, seed=seed)
    apply = GroupNorm().apply
    params = {"params": {"scale": jnp.ones(4), "bias": jnp.zeros(4)}}
    np.testing.assert_allclose(apply(params, scale * (x + offset)), apply(params, x), atol=2e-3)


def test_group_norm_adds_a_shift_to_its_input():
    x, shift = image(2, 6, 5, 16) + 1, 2 * image(2, 16, seed=1)
    params, expected = initialized(GroupNorm(nn.silu), x + shift[:, None, None])
    assert relative_error(GroupNorm(nn.silu).apply({"params": params}, x, shift), expected) < 1e-5


def test_group_norm_computes_its_statistics_in_float32():
    x = (image(1, 32, 32, 8) + 30).astype(jnp.bfloat16)
    params, result = initialized(GroupNorm(), x)
    assert result.dtype == jnp.bfloat16
    expected = GroupNorm().apply({"params": params}, x.astype(jnp.float32))
    assert relative_error(result.astype(np.float32), expected) < 2**-8


@pytest.mark.parametrize("positions", [6, 7, 12])
def test_attention_in_parts_is_attention(monkeypatch, positions):
    query, key, value = (jax.random.normal(jax.random.key(seed), (2, positions, 8)) for seed in range(3))
    whole = layers.attention(query, key, value)
    monkeypatch.setattr(layers, "MANY_POSITIONS", 3)
    monkeypatch.setattr(layers, "QUERIES", 3)
    np.testing.assert_allclose(layers.attention(query, key, value), whole, rtol=1e-5, atol=1e-6)


def test_attention_is_an_explicit_softmax():
    x = image(2, 4, 3, 8)
    params, result = initialized(AttentionBlock(), x)
    p = jax.tree.map(np.float64, params)
    h = np.asarray(GroupNorm().apply({"params": params["norm"]}, x), np.float64).reshape(2, 12, 8)
    query, key, value = (h @ p[name]["kernel"] + p[name]["bias"] for name in ("query", "key", "value"))
    weights = scipy.special.softmax(np.einsum("bqc,bkc->bqk", query, key) / np.sqrt(8), axis=-1)
    attended = (weights @ value) @ p["out"]["kernel"] + p["out"]["bias"]
    assert relative_error(result, (x + attended.reshape(x.shape)) / np.sqrt(2)) < 1e-5


@pytest.mark.parametrize("resample", [None, upsample, downsample])
@pytest.mark.parametrize("features", [8, 12])
def test_a_residual_block_is_its_two_branches(resample, features):
    x, embedding = image(2, 4, 6, 8), image(2, 16, seed=2)
    block = ResidualBlock(features, resample)
    params, result = initialized(block, x, embedding)

    def norm(name, h):
        return GroupNorm().apply({"params": params[name]}, h)

    def convolve(name, h):
        out = jax.lax.conv_general_dilated(
            h, params[name]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return out + params[name]["bias"]

    change = resample or (lambda h: h)
    h = convolve("conv_0", change(nn.silu(norm("norm_0", x))))
    shift = nn.silu(embedding) @ params["dense"]["kernel"] + params["dense"]["bias"]
    h = convolve("conv_1", nn.silu(norm("norm_1", h + shift[:, None, None])))
    straight = change(x)
    if features != 8 or resample:
        straight = convolve("shortcut", straight)
    assert relative_error(result, (straight + h) / np.sqrt(2)) < 1e-5


def test_a_fresh_residual_block_changes_almost_nothing():
    x, embedding = image(2, 4, 6, 8), image(2, 16)
    block = ResidualBlock(8)
    result = block.apply(block.init(jax.random.key(0), x, embedding), x, embedding)
    assert relative_error(result, x / np.sqrt(2)) < 1e-3


def test_the_frequencies_of_the_time_embedding_are_fixed_and_random():
    embedding, t = TimeEmbedding(64), jnp.array([0.03, 0.5, 1.0])
    params = embedding.init(jax.random.key(0), t)["params"]
    assert np.std(params["frequencies"]) == pytest.approx(16, rel=0.3)
    gradient = jax.grad(lambda p: jnp.sum(embedding.apply({"params": p}, t)))(params)
    assert not np.any(gradient["frequencies"])
    assert np.any(gradient["dense_0"]["kernel"])


def test_the_time_embedding_tells_times_apart():
    _, features = initialized(TimeEmbedding(8), jnp.array([0.03, 0.031, 1.0]))
    assert features.shape == (3, 32)
    assert np.abs(features[0] - features[1]).max() > 0.1
