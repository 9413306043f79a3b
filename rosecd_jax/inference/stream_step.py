"""One step of a stream: a block of samples in, a block of enhanced samples out; pure, of fixed shapes.

All counts of `StreamConfig` are in frames, which are `front_end.hop` samples apart. A step sees the last
`window` frames of the signal. The newest `look_ahead` of them are context only, the output ends before them:

    |  past: context  | cross-fade | ... block ... | held back | look-ahead |  newest frame's half window |
                      |<--------- hop ------------>|<- fade -->|

The first `fade` frames of the output are cross-faded with what the step before held back.
"""

import dataclasses
import functools
import numbers
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.models.enhancement import SamplerConfig, enhance_frames, signal_key
from rosecd_jax.models.score_model import Params, ScoreModel

SILENCE = 1e-20
"""A window whose samples are all smaller counts as silent."""
MEMORY = 2.0
"""Seconds of the signal of which the mean is known, fading exponentially."""
OFFSET_AFTER, OFFSET_SHARE = 0.1, 0.01
"""Seconds after which the mean is taken off, and the share of the window's maximum that it has to exceed."""
LEVEL_RANGE = 100.0
"""The remembered level is at most so many times the window's maximum (40 dB): a click is soon forgotten."""


@dataclasses.dataclass(frozen=True)
class StreamConfig:
    """How a signal is cut into steps; all lengths in frames.

    The defaults are 512, 64, 64 and 8 ms of a model whose frames are 8 ms apart; for any other,
    `from_milliseconds(model)` gives the numbers of frames nearest to these times.

    Attributes:
      window: frames that the network sees at each step, a multiple of its stride.
      hop: frames from one step to the next: the size of a block.
      look_ahead: frames that the network sees after those it gives out.
      fade: frames over which a step's output is faded into the next one's, at most `hop`; 0 for none.
      level_decay: how fast the level that a signal is divided by falls where it becomes quiet, dB per second.
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
                    f"stream {name} is {value!r} frames: expected a whole number from {least} on"
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
        if not (isinstance(self.level_decay, numbers.Real) and 0 <= self.level_decay < np.inf):
            raise ValueError(
                f"level_decay is {self.level_decay!r} dB per second: expected a finite number from 0 on"
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
        """The config nearest to these lengths, in ms; None: 512, 64, 64 and one frame.

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
        """Raise ValueError if the model's network can't take such a window."""
        stride = model.config.stride
        if self.window % stride:
            raise ValueError(
                f"stream window is {self.window} frames: this network needs a multiple of {stride}"
            )

    def block(self, front: FrontEnd) -> int:
        """Samples that a step takes and gives."""
        return self.hop * front.hop

    def delay(self, front: FrontEnd) -> int:
        """Samples that a step's output lags its input: look-ahead, fade, and the newest frame's half."""
        return (self.look_ahead + self.fade + front.reach - 1) * front.hop


class StreamState(NamedTuple):
    """What a step hands on to the next, for C channels.

    Attributes:
      past: the newest samples so far, float32 [C, front_end.stretch(window) - block].
      tail: enhanced samples held back for the cross-fade, float32 [C, fade · front_end.hop].
      level: what the last window was divided by, float32 [C]; 0 before any sound.
      mean: of the signal lately, float32 [C].
      known: samples that came so far, int32 []; it stops at `MEMORY` or at the window's length.
      first_frame: absolute number of the next window's first frame, int32 []; negative at the start.
    """

    past: jax.Array
    tail: jax.Array
    level: jax.Array
    mean: jax.Array
    known: jax.Array
    first_frame: jax.Array


def initial_state(model: ScoreModel, config: StreamConfig, channels: int = 1) -> StreamState:
    """The state before the first sample: silence.

    Raises:
      ValueError: if the window doesn't go with the network.
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
    """A PRNG key per channel [channels], all alike: that of `Enhancer`, for the same noise as there.

    Raises:
      TypeError: if the seed is no whole number.
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
    """Enhance the next block of a stream, each channel by itself; pure.

    Args:
      sampler: need not be resolved.
      state: `initial_state`'s, then that of the step before.
      block: float32 [C, `config.block`], finite.
      keys: one per channel [C]; the same at every step.

    Returns:
      The next state; and float32 [C, block]: the enhanced signal, `config.delay` samples after the block. So
      the first steps give what belongs to times before the signal's start, to be left out.

    Raises:
      ValueError: if the sampler doesn't go with the model.
    """
    sampler, front = sampler.resolve(model), model.front_end
    wave = jnp.concatenate([state.past, block], axis=-1)
    known, mean, centered = _without_offset(state, wave, config.block(front), front.sample_rate)
    peak = jnp.max(jnp.abs(centered), axis=-1)
    audible = peak > SILENCE
    level = _next_level(config, front, state.level, peak, audible)

    scaled = centered / jnp.where(audible, level, 1.0)[:, None]
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
    """A stream's step, compiled, and run once on silence: the first run is slow. The state is donated."""
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
    """How many samples are known, their mean [C], and the window [C, samples] without it, if it is an offset.

    `audio.level` does this for a recording, whose mean is known from its beginning.
    """
    samples, memory = wave.shape[-1], round(MEMORY * sample_rate)
    known = jnp.minimum(state.known + block, max(memory, samples))
    share = block / jnp.minimum(known, memory)
    mean = state.mean + share * (jnp.mean(wave[:, -block:], axis=-1) - state.mean)
    here = jnp.sum(wave, axis=-1) / jnp.minimum(known, samples)  # a sound that has passed is no offset
    lasts = jnp.abs(here - mean) < jnp.abs(mean) / 2
    large = jnp.abs(mean) > OFFSET_SHARE * jnp.max(jnp.abs(wave), axis=-1)
    clear = (known >= OFFSET_AFTER * sample_rate) & large & lasts
    came = jnp.arange(samples) >= samples - known  # what is before the signal has no offset
    return known, mean, wave - jnp.where(clear[:, None] & came, mean[:, None], 0)


def _next_level(
    config: StreamConfig, front: FrontEnd, level: jax.Array, peak: jax.Array, audible: jax.Array
) -> jax.Array:
    """The window's maximum, or the level of before where that is larger, somewhat decayed; [C].

    This stands for the maximum of the whole signal, which nobody knows yet.
    """
    seconds = config.block(front) / front.sample_rate
    remembered = level * np.float32(10 ** (-config.level_decay * seconds / 20))
    remembered = jnp.where(audible, jnp.minimum(remembered, LEVEL_RANGE * peak), remembered)
    return jnp.maximum(peak, remembered)
