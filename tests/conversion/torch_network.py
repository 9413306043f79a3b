"""NCSN++ v2 in PyTorch, as the tests' second opinion on what the authors' parameter names mean.

Written from the papers' description (see models/ncsnpp.py), with convolutions where ours has none.
"""

from collections.abc import Iterable, Mapping

import torch  # type: ignore[import-not-found]
from torch import Tensor  # type: ignore[import-not-found]
from torch.nn import functional  # type: ignore[import-not-found]

from rosecd_jax.models import NCSNppConfig

State = Mapping[str, Tensor]
FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def denoise(state: State, config: NCSNppConfig, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
    """A student's estimate for OUVE's published sigma: D = c_skip x_t + c_out F(x_t, y, t), EDM's scalings.

    Args:
      state: by the authors' names, without "dnn.".
      x_t, y: complex64 [B, F, T].
      t: [B].

    Returns:
      complex64 [B, F, T].
    """
    gamma, low, ratio, data = 1.5, 0.05, 10.0, 0.1
    log = torch.log(torch.tensor(ratio))
    variance = low**2 * (ratio ** (2 * t) - torch.exp(-2 * gamma * t)) * log / (gamma + log)
    variance = variance[:, None, None]
    c_skip = data**2 / (variance + data**2)
    c_out = data * torch.sqrt(variance / (variance + data**2))
    return c_skip * x_t + c_out * raw(state, config, x_t, y, t)


def raw(state: State, config: NCSNppConfig, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
    """The bare network; arguments and result as `denoise`'s."""
    names = (f"all_modules.{index}" for index in range(10_000))
    x = torch.stack([x_t.real, x_t.imag, y.real, y.imag], dim=1)
    frequencies = torch.log(t)[:, None] * state[f"{next(names)}.W"] * (2 * torch.pi)
    embedding = torch.cat([torch.sin(frequencies), torch.cos(frequencies)], dim=1)
    embedding = dense(state, next(names), embedding)
    embedding = functional.silu(dense(state, next(names), functional.silu(embedding)))

    small, h = x, conv(state, next(names), x)
    skips, levels = [h], range(len(config.multipliers))
    for level in levels:
        for _ in range(config.blocks):
            h = residual(state, next(names), h, embedding)
            h = attention(state, names, h, config)
            skips.append(h)
        if level != levels[-1]:
            h = residual(state, next(names), h, embedding, down)
            small = down(small)
            h = h + conv(state, f"{next(names)}.Conv_0", small)
            skips.append(h)
    h = residual(state, next(names), h, embedding)
    h = attend(state, next(names), h)
    h = residual(state, next(names), h, embedding)
    total = torch.zeros(())
    for level in reversed(levels):
        for _ in range(config.blocks + 1):
            h = residual(state, next(names), torch.cat([h, skips.pop()], dim=1), embedding)
        h = attention(state, names, h, config)
        part = functional.silu(norm(state, next(names), h))
        total = (up(total) if total.ndim else total) + conv(state, next(names), part)
        if level != 0:
            h = residual(state, next(names), h, embedding, up)
    assert not any(name.startswith(f"{next(names)}.") for name in state)
    return torch.complex(*conv(state, "output_layer", total).unbind(dim=1))


def conv(state: State, name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.weight"]
    return functional.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)


def dense(state: State, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(state: State, name: str, x: Tensor) -> Tensor:
    groups = min(x.shape[1] // 4, 32)
    return functional.group_norm(x, groups, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)


def down(x: Tensor) -> Tensor:
    """Half the size, smoothed by the FIR filter."""
    channels = x.shape[1]
    return functional.conv2d(x, FIR.expand(channels, 1, 4, 4), stride=2, padding=1, groups=channels)


def up(x: Tensor) -> Tensor:
    """Twice the size, zeros in between, smoothed by the FIR filter."""
    channels = x.shape[1]
    kernel = 4 * FIR.expand(channels, 1, 4, 4)
    return functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)


def residual(state: State, name: str, x: Tensor, embedding: Tensor, resample=lambda x: x) -> Tensor:
    h = resample(functional.silu(norm(state, f"{name}.GroupNorm_0", x)))
    h = conv(state, f"{name}.Conv_0", h) + dense(state, f"{name}.Dense_0", embedding)[:, :, None, None]
    h = conv(state, f"{name}.Conv_1", functional.silu(norm(state, f"{name}.GroupNorm_1", h)))
    x = resample(x)
    if f"{name}.Conv_2.weight" in state:
        x = conv(state, f"{name}.Conv_2", x)
    return (x + h) / 2**0.5


def attention(state: State, names: Iterable[str], x: Tensor, config: NCSNppConfig) -> Tensor:
    """At the heights that have it."""
    return attend(state, next(iter(names)), x) if x.shape[2] in config.attention_heights else x


def attend(state: State, name: str, x: Tensor) -> Tensor:
    def mixed(number: int, h: Tensor) -> Tensor:  # positions last
        weight, bias = state[f"{name}.NIN_{number}.W"], state[f"{name}.NIN_{number}.b"]
        return weight.T @ h + bias[:, None]

    h = norm(state, f"{name}.GroupNorm_0", x).flatten(2)
    query, key, value = (mixed(number, h) for number in range(3))
    weights = torch.softmax(query.mT @ key / x.shape[1] ** 0.5, dim=-1)
    return (x + mixed(3, value @ weights.mT).reshape(x.shape)) / 2**0.5
