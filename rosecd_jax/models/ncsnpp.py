"""NCSN++ as the SGMSE+ family uses it (Song et al. 2021; arXiv 2208.05830, 2409.10753), in Flax linen."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Float32

from rosecd_jax.arrays import Array
from rosecd_jax.config import check_fields
from rosecd_jax.models.initial import constant, uniform
from rosecd_jax.models.layers import (
    AttentionBlock,
    Conv,
    GroupNorm,
    ResidualBlock,
    TimeEmbedding,
    downsample,
    group_count,
    upsample,
)

Maps = Float[Array, "B _ _ _"]
"""Activations between blocks; levels differ in all axes but the batch."""
Embedding = Float[Array, "B E"]


@dataclasses.dataclass(frozen=True)
class NCSNppConfig:
    """Size of an NCSN++; the defaults are the published `ncsnpp_v2` of 65.6 M parameters.

    `NCSNPP` and `NCSNPP_48K` are the family's other two networks.

    Attributes:
      channels: channels of the first level.
      multipliers: multiples of `channels`, one per level; each further level halves the resolution.
      blocks: residual blocks per level on the way down (one more on the way up).
      bins: height of the input's frequency axis.
      attention_heights: heights of the frequency axis of levels with attention; the bottleneck always has it.
      pyramids: whether the downsampled input is added at each level, and the output is a sum over levels;
        otherwise the output comes from the decoder's last level only.
      time_division: whether the output is divided by t, "before" or "after" the last 1×1 convolution.
      fourier_scale: standard deviation of the fixed Fourier frequencies of log t.
      dtype: dtype of the computation; parameters and GroupNorm statistics are float32.
      remat: rematerialize residual blocks and the output pyramid for the gradient: less memory, one
        more forward computation, and no forward-mode derivatives.
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 2, 2, 2)
    blocks: int = 2
    bins: int = 256
    attention_heights: tuple[int, ...] = (16,)
    pyramids: bool = True
    time_division: Literal["none", "before", "after"] = "none"
    fourier_scale: float = 16.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False

    def __post_init__(self) -> None:
        least = {"blocks": 1, "channels": 1, "bins": 1, "attention_heights": 1}
        check_fields(self, "network.", least=least, above={"fourier_scale": 0})
        if min(self.multipliers, default=0) < 1:
            raise ValueError(
                f"network.multipliers is {self.multipliers}, it has to be a positive number for each level"
            )
        for width in sorted(self.normalized_widths):
            groups = group_count(width)
            if not groups or width % groups:
                raise ValueError(
                    f"network.channels is {self.channels}: a GroupNorm can't divide {width} channels into "
                    f"{groups} groups; a multiple of 32 always works"
                )
        if self.bins % self.stride:
            raise ValueError(
                f"network.bins is {self.bins}: {len(self.multipliers)} levels need multiples of {self.stride}"
            )

    @property
    def stride(self) -> int:
        """Divisor of the frequency and frame counts of an input."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def normalized_widths(self) -> set[int]:
        """Channel counts of the GroupNorms' inputs: of each level, alone and concatenated with skips."""
        widths = [self.channels * multiplier for multiplier in self.multipliers]
        found = {self.channels, *widths}
        for level, width in enumerate(widths):
            # On the way up, the first block's input comes from below; the last skip comes from above.
            ours = [widths[min(level + 1, len(widths) - 1)]] + self.blocks * [width]
            skips = self.blocks * [width] + [widths[level - 1] if level else self.channels]
            found |= {a + b for a, b in zip(ours, skips, strict=True)}
        return found

    @property
    def heights(self) -> tuple[int, ...]:
        """Frequency bins at each level."""
        return tuple(self.bins >> level for level in range(len(self.multipliers)))


NCSNPP = NCSNppConfig(time_division="before")
"""SGMSE+ (arXiv 2208.05830): `ncsnpp`."""
NCSNPP_48K = NCSNppConfig(bins=768, attention_heights=(), pyramids=False, time_division="after")
"""SGMSE+ at 48 kHz (arXiv 2406.06185): `ncsnpp_48k`."""


def _rematerialized(*fields: Any, **more: Any) -> Callable[..., jax.Array]:
    """Return a rematerialized residual block.

    A barrier ties the gradients of its weights and of its input. Otherwise XLA continues to the previous
    block with the gradient of the input, and keeps the activations of several blocks for the gradients of
    their weights.
    """
    block = nn.remat(ResidualBlock)(*fields, **more)

    def call(block: nn.Module, *inputs: jax.Array) -> jax.Array:
        return block(*inputs)  # pyright: ignore

    def backward(vjp: Any, cotangent: jax.Array) -> Any:
        return jax.lax.optimization_barrier(vjp(cotangent))

    tied = nn.custom_vjp(call, lambda block, *inputs: nn.vjp(call, block, *inputs), backward)
    return lambda *inputs: tied(block, *inputs)


class NCSNpp(nn.Module):
    """A U-Net with attention, and with an input and an output pyramid.

    Its input holds the real and imaginary parts of x_t and of y, its output those of one spectrogram;
    F must be `config.bins` and T a multiple of `config.stride`.
    """

    config: NCSNppConfig

    @nn.compact
    def __call__(self, x: Float32[Array, "B F T 4"], t: Float32[Array, " B"]) -> Float32[Array, "B F T 2"]:
        cfg = self.config
        dtype, pyramid_channels = jnp.dtype(cfg.dtype), x.shape[-1]
        block_of = functools.partial(_rematerialized if cfg.remat else ResidualBlock, dtype=dtype)
        embedding = TimeEmbedding(cfg.channels, cfg.fourier_scale, dtype, name="time")(t)
        h, skips = self._down(x.astype(dtype), embedding, block_of)
        width = cfg.channels * cfg.multipliers[-1]
        h = block_of(width, name="middle_block_0")(h, embedding)
        h = AttentionBlock(dtype, name="middle_attention")(h)
        h = block_of(width, name="middle_block_1")(h, embedding)
        output = self._up(h, skips, embedding, block_of, pyramid_channels)
        kernel_init, bias_init = uniform(1 / 3, "in"), constant(0.0)
        last = nn.Conv(
            2, (1, 1), dtype=jnp.float32, kernel_init=kernel_init, bias_init=bias_init, name="output"
        )
        if cfg.time_division == "before":
            return last(output / t[:, None, None, None])
        if cfg.time_division == "after":
            return last(output) / t[:, None, None, None]
        return last(output)

    def _down(
        self, x: Float[Array, "B F T 4"], embedding: Embedding, block_of: Any
    ) -> tuple[Maps, list[Maps]]:
        """Compute the encoder; return its output and the skips."""
        cfg, dtype = self.config, x.dtype
        h = Conv(cfg.channels, 3, dtype=dtype, name="input")(x)
        skips = [h]
        for level, (multiplier, height) in enumerate(zip(cfg.multipliers, cfg.heights, strict=True)):
            width = cfg.channels * multiplier
            for block in range(cfg.blocks):
                h = block_of(width, name=f"down_{level}_block_{block}")(h, embedding)
                if height in cfg.attention_heights:
                    h = AttentionBlock(dtype, name=f"down_{level}_attention_{block}")(h)
                skips.append(h)
            if level != len(cfg.multipliers) - 1:
                h = block_of(width, downsample, name=f"down_{level}_resample")(h, embedding)
                if cfg.pyramids:
                    x = downsample(x)
                    h = h + Conv(width, 1, dtype=dtype, name=f"down_{level}_pyramid")(x)
                skips.append(h)
        return h, skips

    def _up(
        self,
        h: Maps,
        skips: list[Maps],
        embedding: Embedding,
        block_of: Any,
        pyramid_channels: int,
    ) -> Float[Array, "B _ _ {pyramid_channels}"]:
        """Compute the decoder."""
        cfg, dtype = self.config, h.dtype

        def pyramid_layer(module: nn.Module, h: Maps, level: int) -> Maps:
            h = GroupNorm(nn.silu, name=f"up_{level}_pyramid_norm")(h)
            return Conv(pyramid_channels, 3, scale=0.0, dtype=dtype, name=f"up_{level}_pyramid")(h)

        pyramid_of = nn.remat(pyramid_layer, static_argnums=(2,)) if cfg.remat else pyramid_layer
        output = None
        for level in reversed(range(len(cfg.multipliers))):
            width = cfg.channels * cfg.multipliers[level]
            for block in range(cfg.blocks + 1):
                h = block_of(width, name=f"up_{level}_block_{block}")(h, embedding, skips.pop())
            if cfg.heights[level] in cfg.attention_heights:
                h = AttentionBlock(dtype, name=f"up_{level}_attention")(h)
            if cfg.pyramids or level == 0:
                layer = pyramid_of(self, h, level)
                output = layer if output is None else upsample(output) + layer
            if level != 0:
                h = block_of(width, upsample, name=f"up_{level}_resample")(h, embedding)
        assert output is not None
        return output
