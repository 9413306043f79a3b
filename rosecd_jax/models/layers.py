"""Building blocks of NCSN++ (Song et al. 2021, appendix H), on [batch, frequency, frame, channel]."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.linen.dtypes
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32

from rosecd_jax.arrays import Array
from rosecd_jax.models.convolution import convolve, pointwise
from rosecd_jax.models.initial import constant, normal, uniform

Maps = Float[Array, "B F T C"]
Positions = Float[Array, "B positions C"]
SQRT_HALF = float(np.sqrt(0.5))
MANY_POSITIONS, QUERIES = 1024, 512
"""Number of positions from which attention is computed in blocks, and queries in a block."""


@jax.custom_jvp
def computed_once(x: Maps) -> Maps:
    """Return x, with a gradient that is computed once and stored.

    Otherwise XLA fuses the sum of cotangents into each of its many consumers, and recomputes it for every
    reduction, product and convolution.
    """
    return x


@computed_once.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return primals[0], jax.lax.optimization_barrier(tangents[0])


class Conv(nn.Module):
    """A 1 × 1 or 3 × 3 convolution that keeps the resolution.

    Attributes:
      features: channels of the result.
      size: size of the kernel, 1 or 3.
      scale: scale of the initial kernel, see `initial.uniform`.
      dtype: dtype of the computation; None: promoted from input and kernel.
    """

    features: int
    size: int
    scale: float = 1.0
    dtype: Any = None

    def __call__(self, x: Maps) -> Float[Array, "B F T {self.features}"]:
        product, bias = self.parts(x)
        return computed_once(product + bias)

    @nn.compact
    def parts(
        self, x: Maps
    ) -> tuple[Float[Array, "B F T {self.features}"], Float[Array, " {self.features}"]]:
        """Return the convolution without the bias, and the bias."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", uniform(self.scale), shape)
        bias = self.param("bias", constant(0.0), (self.features,))
        x, kernel, bias = flax.linen.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return {1: pointwise, 3: convolve}[self.size](x, kernel), bias


def dense(features: int, *, scale: float = 1.0, dtype: Any = None, name: str | None = None) -> nn.Dense:
    """Return a dense layer with the initial kernel `initial.uniform(scale)`."""
    return nn.Dense(features, dtype=dtype, kernel_init=uniform(scale), bias_init=constant(0.0), name=name)


def group_count(channels: int) -> int:
    """Return the number of groups of a GroupNorm."""
    return min(channels // 4, 32)


class GroupNorm(nn.Module):
    """GroupNorm of `group_count(channels)` groups of equal size, and an activation.

    Its statistics are float32 for any compute dtype.

    Sums are taken per channel, along contiguous memory, then over a group's channels, which is four times as
    fast on a CPU as reducing whole groups. For the gradient, only the input is stored.

    `shift` is added to the input at every position; it enters only the channels' sums and the result's
    offset. If it were added in the preceding convolution, XLA would fill an array with it on a GPU. Its
    gradient needs no further sum over positions.

    Attributes:
      activation: activation of the normalized values.
    """

    activation: Callable[[jax.Array], jax.Array] = lambda x: x

    @nn.compact
    def __call__(self, x: Maps, shift: Float[Array, "B C"] | None = None) -> Maps:
        channels = x.shape[-1]
        size = channels // group_count(channels)
        scale = self.param("scale", constant(1.0), (channels,))
        bias = self.param("bias", constant(0.0), (channels,))
        x32 = x.astype(jnp.float32)
        same_group = np.kron(np.eye(channels // size), np.full((size, size), 1 / size)).astype(np.float32)

        def over_group(means: Float32[Array, "B C"]) -> Float32[Array, "B C"]:
            """Average over each channel's group, without a matrix product, for precision."""
            return jnp.sum(means[:, None, :] * same_group, axis=-1)

        @jax.checkpoint
        def normalize(x32: Maps, gain: Float32[Array, "B C"], offset: Float32[Array, "B C"]) -> Maps:
            gain, offset = gain[:, None, None, :], offset[:, None, None, :]
            return self.activation(x32 * gain + offset).astype(x.dtype)

        shift = jnp.zeros((1, channels)) if shift is None else shift.astype(jnp.float32)
        mean, square = x32.mean((1, 2)), jnp.square(x32).mean((1, 2))
        mean, square = over_group(mean + shift), over_group(square + (2 * mean + shift) * shift)
        gain = jax.lax.rsqrt(jnp.maximum(square - mean**2, 0.0) + 1e-6) * scale
        return normalize(x32, gain, bias + (shift - mean) * gain)


@jax.custom_jvp
def upsample(x: Maps) -> Float[Array, "B 2*F 2*T C"]:
    """Double both resolutions with the FIR filter (1, 3, 3, 1)."""
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for axis in (1, 2):
        length = x.shape[axis] - 2
        before, here, after = (jax.lax.slice_in_dim(x, i, i + length, axis=axis) for i in range(3))
        pairs = jnp.stack([before + 3 * here, 3 * here + after], axis=axis + 1) / 4
        x = pairs.reshape(*x.shape[:axis], 2 * length, *x.shape[axis + 1 :])
    return x


@jax.custom_jvp
def downsample(x: Maps) -> Float[Array, "B F//2 T//2 C"]:
    """Halve both resolutions with the FIR filter (1, 3, 3, 1)."""
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for axis in (1, 2):
        length = x.shape[axis] - 2
        before, even, odd, after = (jax.lax.slice_in_dim(x, i, i + length - 1, 2, axis) for i in range(4))
        x = (before + 3 * even + 3 * odd + after) / 8
    return x


def _define_jvp(resample: Any, reverse: Any, factor: float) -> None:
    """Define the JVP of a resampling as `factor` times the transpose of the reverse one.

    Its transpose, the gradient, is then `reverse` itself, which compiles to fewer kernels than the transpose
    of `resample`.
    """

    def jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
        result = resample(*primals)
        (tangent,) = jax.linear_transpose(reverse.fun, result)(*tangents)
        return result, factor * tangent

    resample.defjvp(jvp)


_define_jvp(upsample, downsample, 4.0)
_define_jvp(downsample, upsample, 0.25)


class TimeEmbedding(nn.Module):
    """Embedding of t: log t -> random Fourier features (fixed) -> two dense layers."""

    channels: int
    scale: float = 16.0
    dtype: Any = None

    @nn.compact
    def __call__(self, t: Float32[Array, " B"]) -> Float[Array, "B {4*self.channels}"]:
        frequencies = self.param("frequencies", normal(self.scale), (self.channels,))
        phase = 2 * jnp.pi * jnp.log(t)[:, None] * jax.lax.stop_gradient(frequencies)
        h = jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)
        h = dense(4 * self.channels, dtype=self.dtype, name="dense_0")(h)
        return dense(4 * self.channels, dtype=self.dtype, name="dense_1")(nn.silu(h))


class ResidualBlock(nn.Module):
    """BigGAN residual block with optional resampling, conditioned on the time embedding.

    Attributes:
      features: channels of the result.
      resample: `upsample`, `downsample`, or None to keep the resolution.
    """

    features: int
    resample: Any = None
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Maps, embedding: Float[Array, "B E"], skip: Float[Array, "B F T S"] | None = None
    ) -> Float[Array, "B _ _ {self.features}"]:
        if skip is not None:
            # Concatenated here rather than in the caller, so that the result isn't stored under remat, and
            # once, which is faster on a CPU than in each consumer.
            x = computed_once(jax.lax.optimization_barrier(jnp.concatenate([x, skip], axis=-1)))
        channels = x.shape[-1]
        h = GroupNorm(nn.silu, name="norm_0")(x)
        if self.resample is not None:
            h, x = self.resample(computed_once(h)), self.resample(x)
        shift = dense(self.features, dtype=self.dtype, name="dense")(nn.silu(embedding))
        h, bias = Conv(self.features, 3, dtype=self.dtype, name="conv_0").parts(h)
        h = GroupNorm(nn.silu, name="norm_1")(computed_once(h), bias + shift)
        h, bias = Conv(self.features, 3, scale=0.0, dtype=self.dtype, name="conv_1").parts(h)
        # One sum of the biases, which a GPU adds within the convolution.
        if channels != self.features or self.resample is not None:
            x, more = Conv(self.features, 1, dtype=self.dtype, name="shortcut").parts(x)
            bias = bias + more
        return computed_once((x + (h + bias)) * SQRT_HALF)


def attention(query: Positions, key: Positions, value: Positions) -> Positions:
    """Scaled dot-product attention; softmax in float32.

    The division by the softmax's sum comes last, where it is cheap. For many positions, queries are computed
    in blocks, so that the square matrix is not held in memory and a block stays in a CPU's cache. On a CPU,
    this is two to ten times as fast as jax.nn.dot_product_attention.
    """
    batch, positions, channels = query.shape

    def attend(query: Float[Array, "B part C"]) -> Float[Array, "B part C"]:
        scores = jnp.einsum("bqc,bkc->bqk", query, key, preferred_element_type=jnp.float32) / channels**0.5
        weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
        sums = weights.sum(-1, keepdims=True)
        weighted = jnp.einsum("bqk,bkc->bqc", weights.astype(value.dtype), value)
        return (weighted / sums).astype(value.dtype)

    if not isinstance(positions, int) or positions <= MANY_POSITIONS:  # jax.export may leave the length open
        return attend(query)
    parts = -(-positions // QUERIES)
    while positions % parts:
        parts += 1
    queries = jnp.moveaxis(query.reshape(batch, parts, positions // parts, channels), 1, 0)
    return jnp.moveaxis(jax.lax.map(attend, queries), 0, 1).reshape(query.shape)


class AttentionBlock(nn.Module):
    """Single-head self-attention over all frequency × frame positions."""

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        batch, height, width, channels = x.shape
        h = GroupNorm(name="norm")(x).reshape(batch, height * width, channels)
        query, key, value = (
            dense(channels, scale=0.1, dtype=self.dtype, name=name)(h) for name in ("query", "key", "value")
        )
        h = attention(query, key, value).reshape(batch, height, width, channels)
        h = dense(channels, scale=0.0, dtype=self.dtype, name="out")(h)
        return computed_once((x + h) * SQRT_HALF)
