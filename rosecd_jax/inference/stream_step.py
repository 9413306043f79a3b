"""One step of a stream: a block of samples in, a block of enhanced samples out; pure, of fixed shapes.

All counts of `StreamConfig` are in frames, which are `front_end.hop` samples apart. A step sees the last
`window` frames of the signal. The newest `look_ahead` of them are only context; the output ends before them:

    |  past: context  | cross-fade | ... block ... | held back | look-ahead |  newest frame's half window |
                      |<--------- hop ------------>|<- fade -->|

The first `fade` frames of the output are cross-faded with what the previous step held back.
"""

import dataclasses
import functools
import numbers
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.audio.level import (
    EVENT,
    GROUPED,
    LASTING,
    block_size,
    is_constant,
    lasting_level,
    near_events,
)
from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.models.enhancement import SamplerConfig, enhance_frames, signal_key
from rosecd_jax.models.score_model import Params, ScoreModel

SILENCE = 1e-20
"""Maximum magnitude of a silent window."""
MEMORY = 2.0
"""Time constant, in seconds, of the running mean."""
OFFSET_AFTER, OFFSET_SHARE = 0.25, 0.01
"""Seconds after which the mean is subtracted, and the share of the window's maximum that it must exceed."""
LEVEL_RANGE = 100.0
"""Maximum ratio of the remembered level to the window's maximum (40 dB): a click is soon forgotten."""


@dataclasses.dataclass(frozen=True)
class StreamConfig:
    """Division of a signal into steps; all lengths in frames.

    The defaults are 512, 64, 64 and 8 ms for a model whose frames are 8 ms apart; for others,
    `from_milliseconds(model)` rounds the first three to frames, and the cross-fade is one frame.

    Attributes:
      window: frames that the network sees at each step, a multiple of its stride.
      hop: frames from one step to the next: the size of a block.
      look_ahead: frames that the network sees after those it outputs.
      fade: frames of the cross-fade between the outputs of two steps, at most `hop`; 0 for none.
      level_decay: rate, in dB per second, at which the level that divides the signal falls while the signal
        stays below it.
    """

    window: int = 64
    hop: int = 8
    look_ahead: int = 8
    fade: int = 1
    level_decay: float = 3.0

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("hop", 1), ("look_ahead", 0), ("fade", 0)):
            value = getattr(self, name)
            whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)  # also numpy's
            if not whole or value < least:
                raise ValueError(
                    f"stream {name} is {value!r} frames: expected a whole number of at least {least}"
                )
            object.__setattr__(self, name, int(value))
        if self.fade > self.hop:
            raise ValueError(
                f"stream fade is {self.fade} frames, it can't be longer than the hop of {self.hop}"
            )
        used = self.hop + self.fade + self.look_ahead
        if used > self.window:
            raise ValueError(
                f"hop, fade and look-ahead are {used} frames, the window only {self.window}: widen it"
            )
        is_number = isinstance(self.level_decay, numbers.Real) and not isinstance(self.level_decay, bool)
        if not (is_number and 0 <= self.level_decay < np.inf):
            raise ValueError(
                f"level_decay is {self.level_decay!r} dB per second: expected a finite number of at least 0"
            )

    @classmethod
    def from_milliseconds(
        cls,
        model: ScoreModel,
        *,
        window: float | None = None,
        hop: float | None = None,
        look_ahead: float | None = None,
        fade: float | None = None,
    ) -> "StreamConfig":
        """Return the config nearest to these lengths, in ms; None: 512, 64, 64 and one frame.

        The window is rounded up to a multiple of the network's stride, the others to the nearest frame.

        Raises:
          ValueError: as for lengths in frames.
        """
        stride = model.config.stride
        frame = 1000 * model.front_end.hop / model.front_end.sample_rate
        lengths = {
            "window": 512.0 if window is None else window,
            "hop": 64.0 if hop is None else hop,
            "look_ahead": 64.0 if look_ahead is None else look_ahead,
            "fade": frame if fade is None else fade,
        }
        frames = {}
        for name, length in lengths.items():
            least = 1 if name in ("window", "hop") else 0
            if not isinstance(length, numbers.Real) or isinstance(length, bool):
                raise ValueError(f"stream {name} is {length!r}: expected a number of ms")
            if not 0 <= length < 1e6 or (length == 0 and least):
                lowest = "above 0" if least else "from 0"
                raise ValueError(f"stream {name} is {length:g} ms: expected a time {lowest} to 1,000,000 ms")
            frames[name] = max(least, round(length / frame))
        frames["window"] = -(-frames["window"] // stride) * stride
        used = frames["hop"] + frames["fade"] + frames["look_ahead"]
        if used > frames["window"]:
            raise ValueError(
                f"hop, fade and look-ahead are {used * frame:g} ms, the window only "
                f"{frames['window'] * frame:g} ms: widen it"
            )
        return cls(**frames)

    def check(self, model: ScoreModel) -> None:
        """Raise ValueError if the window doesn't fit the model's network."""
        stride = model.config.stride
        if self.window % stride:
            raise ValueError(
                f"stream window is {self.window} frames: this network needs a multiple of {stride}"
            )

    def block(self, front: FrontEnd) -> int:
        """Return the number of samples that a step consumes and outputs."""
        return self.hop * front.hop

    def delay(self, front: FrontEnd) -> int:
        """Return a step's delay in samples: look-ahead, fade, and `front.reach` - 1 hops.

        These hops are the part of the newest frame's half window that is beyond the frame's own hop.
        """
        return (self.look_ahead + self.fade + front.reach - 1) * front.hop


class StreamState(NamedTuple):
    """State carried from step to step, for C channels.

    Attributes:
      past: the newest samples so far, float32 [C, front_end.stretch(window) - block].
      tail: enhanced samples held back for the cross-fade, float32 [C, fade · front_end.hop].
      level: divisor of the last window, float32 [C]; 0 before any sound.
      mean: running mean of the signal, float32 [C].
      known: samples received so far, int32 []; bounded by `MEMORY` or the window's length.
      first_frame: absolute number of the next window's first frame, int32 []; negative at the start.
    """

    past: jax.Array
    tail: jax.Array
    level: jax.Array
    mean: jax.Array
    known: jax.Array
    first_frame: jax.Array


def initial_state(model: ScoreModel, config: StreamConfig, channels: int = 1) -> StreamState:
    """Return the state before the first sample: silence.

    Raises:
      ValueError: if the window doesn't fit the network.
    """
    config.check(model)
    front = model.front_end
    return StreamState(
        past=jnp.zeros((channels, front.stretch(config.window) - config.block(front)), jnp.float32),
        tail=jnp.zeros((channels, config.fade * front.hop), jnp.float32),
        level=jnp.zeros(channels, jnp.float32),
        mean=jnp.zeros(channels, jnp.float32),
        known=jnp.int32(0),
        first_frame=jnp.int32(config.hop - config.window - front.reach + 1),
    )


def stream_keys(seed: int, channels: int) -> jax.Array:
    """Return one PRNG key per channel [channels], each the one that `Enhancer` derives from the seed.

    A stream and an `Enhancer` therefore draw the same noise.

    Raises:
      TypeError: if the seed is not an integer.
    """
    return jnp.broadcast_to(signal_key(np.uint32(operator.index(seed) % 2**32)), (channels,))


def stream_step(
    model: ScoreModel,
    sampler: SamplerConfig,
    config: StreamConfig,
    params: Params,
    state: StreamState,
    block: jax.Array,
    keys: jax.Array,
) -> tuple[StreamState, jax.Array]:
    """Enhance the next block of a stream, each channel separately; pure.

    Args:
      sampler: "auto" and zeros in it stand for the model's defaults, see `SamplerConfig.resolve`.
      state: from `initial_state` or the previous step.
      block: float32 [C, `config.block`], finite.
      keys: one per channel [C]; the same at every step.

    Returns:
      The next state; and float32 [C, block]: the enhanced signal, delayed by `config.delay` samples. The
      first `config.delay` samples belong to times before the signal and are to be discarded.

    Raises:
      ValueError: if the sampler doesn't fit the model.
    """
    sampler, front = sampler.resolve(model), model.front_end
    wave = jnp.concatenate([state.past, block], axis=-1)
    known, mean, centered = _without_offset(state, wave, config.block(front), front.sample_rate)
    audible = jnp.max(jnp.abs(centered), axis=-1) > SILENCE
    level = _next_level(config, front, state.level, _peak(config, front, centered), audible)

    scaled = centered / jnp.where(audible, level, 1.0)[:, None]
    scaled = jnp.clip(scaled, -EVENT, EVENT)  # not to 1: an onset after quiet can look like an event
    valid = jnp.full(len(keys), config.window, jnp.int32)
    firsts = jnp.broadcast_to(state.first_frame, valid.shape)
    enhanced = enhance_frames(model, sampler, params, scaled, valid, firsts, keys)
    enhanced = enhanced * jnp.where(audible, level, 0.0)[:, None]

    size, fade = config.block(front), config.fade * front.hop
    end = (config.window - config.look_ahead) * front.hop
    fresh = enhanced[:, end - size - fade : end]
    rising = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade, dtype=np.float32) + 0.5) / max(1, fade))
    faded = rising * fresh[:, :fade] + (1 - rising) * state.tail
    output = jnp.concatenate([faded, fresh[:, fade:size]], axis=-1)
    first_frame = state.first_frame + config.hop
    return StreamState(wave[:, size:], fresh[:, size:], level, mean, known, first_frame), output


def compile_step(
    model: ScoreModel, params: Params, sampler: SamplerConfig, config: StreamConfig, channels: int
) -> jax.stages.Compiled:
    """Compile a stream's step, which donates its state, and run it once on silence: the first run is slow."""
    arguments = (
        params,
        initial_state(model, config, channels),
        np.zeros((channels, config.block(model.front_end)), np.float32),
        stream_keys(0, channels),
    )
    step = functools.partial(stream_step, model, sampler, config)
    program = jax.jit(step, donate_argnums=1).lower(*arguments).compile()
    jax.block_until_ready(program(*arguments))
    return program


def _without_offset(
    state: StreamState, wave: jax.Array, block: int, sample_rate: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the number of known samples, their mean [C], and the window [C, samples] without offset.

    `audio.level` does this for whole recordings.
    """
    samples, memory = wave.shape[-1], round(MEMORY * sample_rate)
    known = jnp.minimum(state.known + block, max(memory, samples))
    share = block / jnp.minimum(known, memory)
    most = jnp.where(state.level > 0, EVENT * state.level, jnp.inf)[:, None]  # so that no event is an offset
    newest = jnp.clip(wave[:, -block:] - state.mean[:, None], -most, most)
    mean = state.mean + share * jnp.mean(newest, axis=-1)
    inside = jnp.arange(samples) >= samples - known  # the silence before the signal has no offset
    sums, counts = (_blocks(each, sample_rate).sum(axis=-1) for each in (wave, inside[None]))
    group = max(1, min(GROUPED, sums.shape[1] // 5))
    large = jnp.abs(mean) > OFFSET_SHARE * jnp.max(jnp.abs(wave), axis=-1)
    clear = (known >= OFFSET_AFTER * sample_rate) & large & is_constant(mean, sums, counts, jnp, group)
    return known, mean, wave - jnp.where(clear[:, None] & inside, mean[:, None], 0)


def _peak(config: StreamConfig, front: FrontEnd, wave: jax.Array) -> jax.Array:
    """Return the maximum of a window [C, samples], without short events as in `audio.level`; [C].

    A stream that outputs samples before a sound could prove to last can't tell an event from speech's onset.
    """
    size = block_size(front.sample_rate)
    if config.delay(front) < LASTING * size:
        return jnp.max(jnp.abs(wave), axis=-1)
    peaks = _blocks(jnp.abs(wave), front.sample_rate).max(axis=-1)
    return lasting_level(peaks, near_events(peaks, jnp), jnp)


def _blocks(wave: jax.Array, sample_rate: int) -> jax.Array:
    """Divide [C, samples] into blocks of `audio.level`, the first padded with zeros; [C, blocks, size]."""
    size = block_size(sample_rate)
    return jnp.pad(wave, ((0, 0), (-wave.shape[-1] % size, 0))).reshape(len(wave), -1, size)


def _next_level(
    config: StreamConfig, front: FrontEnd, level: jax.Array, peak: jax.Array, audible: jax.Array
) -> jax.Array:
    """Return the window's maximum, or the decayed previous level if that is larger; [C].

    This replaces the maximum of the whole signal, which is not known yet.
    """
    seconds = config.block(front) / front.sample_rate
    remembered = level * np.float32(10 ** (-config.level_decay * seconds / 20))
    remembered = jnp.where(audible, jnp.minimum(remembered, LEVEL_RANGE * peak), remembered)
    return jnp.maximum(peak, remembered)
