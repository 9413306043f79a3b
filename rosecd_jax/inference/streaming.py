"""StreamingEnhancer: chunks of any size in, as many samples out, after a fixed latency."""

import math
import time

import jax
import numpy as np

from rosecd_jax.audio.resampling import StreamResampler
from rosecd_jax.inference.programs import StreamPrograms
from rosecd_jax.inference.step_times import StepTimes
from rosecd_jax.inference.stream_step import StreamConfig, initial_state, stream_keys
from rosecd_jax.models.enhancement import SamplerConfig, blend
from rosecd_jax.models.score_model import Params, ScoreModel

AUTO, DEFAULTS = SamplerConfig(), StreamConfig()
LOUDEST = 1e30
"""Samples must be smaller in magnitude, so that no product overflows; full scale is 1."""


def fit_samples(wave: np.ndarray) -> int:
    """How many samples of real [channels, samples] come before one that is NaN, infinite or too large."""
    fit = (np.abs(wave) < LOUDEST).all(axis=0)
    return wave.shape[-1] if fit.all() else int(np.argmin(fit))


class StreamingEnhancer:
    """A model that enhances a signal as it comes: `push` chunks, then `flush`.

    The output is the enhanced signal, `latency` samples late. It depends on the input alone, not on how that
    was cut into chunks. Each channel is enhanced by itself. Its program is there once it is made.

    Attributes:
      model, params, sampler, config: what is run, and how; the sampler resolved for the model.
      channels: of the signal.
      sample_rate: of the signal, in Hz.
      latency: samples that the output is late, computing not counted: the block that has to be complete, the
        look-ahead, the cross-fade, half of a frame's window in whole hops, and half of what resamples.
      times: how long the steps took, since the stream was made, with the resampling that they needed.
    """

    def __init__(
        self,
        model: ScoreModel,
        params: Params,
        sampler: SamplerConfig = AUTO,
        config: StreamConfig = DEFAULTS,
        *,
        channels: int = 1,
        sample_rate: int | None = None,
        seed: int = 0,
        programs: StreamPrograms | None = None,
        wet: float = 1.0,
    ) -> None:
        """Compile the step, and run it once on silence.

        Args:
          sample_rate: None for the model's; others are converted there and back, which adds to the latency,
            and nothing above half the model's rate is left.
          seed: of the noise that the sampler starts from.
          programs: of the same model, parameters and sampler, shared with other streams.
          wet: share of the model's output in what is given, see `models.enhancement.wet_share`.

        Raises:
          ValueError: if sampler or window don't go with the model, or there are no channels or no such rate.
        """
        front = model.front_end
        if channels < 1:
            raise ValueError(f"{channels} channels: a stream has at least one")
        sample_rate = front.sample_rate if sample_rate is None else sample_rate
        if not 1000 <= sample_rate <= 384_000 or sample_rate != int(sample_rate):
            raise ValueError(f"a sample rate of {sample_rate} Hz: expected a whole number, 1000 to 384,000")
        sample_rate = int(sample_rate)
        self.model, self.config, self.sampler = model, config, sampler.resolve(model)
        self.params = jax.device_put(params)  # else numpy's would go there at every step
        self.channels, self.sample_rate, self.wet = channels, sample_rate, wet

        self._keys, self._block = stream_keys(seed, channels), config.block(front)
        programs = programs or StreamPrograms(model, self.params, self.sampler)
        self._program = programs(config, channels)
        self.times = StepTimes(self._block / front.sample_rate)

        late = self._block - 1 + config.delay(front)
        self._changes: tuple[StreamResampler, ...] = ()
        if sample_rate != front.sample_rate:
            there = StreamResampler(sample_rate, front.sample_rate, channels)
            self._changes = there, StreamResampler(front.sample_rate, sample_rate, channels)
            seconds = late / front.sample_rate + sum(change.lag for change in self._changes)
            late = math.ceil(seconds * sample_rate)
        self.latency = late
        self.reset()

    @property
    def latency_seconds(self) -> float:
        return self.latency / self.sample_rate

    def reset(self) -> None:
        """Begin a new signal: forget all samples that came before."""
        self._state = initial_state(self.model, self.config, self.channels)
        self._early = self.config.delay(self.model.front_end)
        self._pending = np.zeros((self.channels, 0), np.float32)
        self._ready = np.zeros((self.channels, self.latency), np.float32)
        self._dry = self._ready  # the input, as late as the output
        self._step_seconds: list[float] = []
        self._seconds = 0.0  # of all that was done since the last step was counted
        for change in self._changes:
            change.reset()

    def push(self, chunk: np.ndarray) -> np.ndarray:
        """Take the next samples and give as many: those that came `latency` samples earlier, enhanced.

        Args:
          chunk: real [samples] of a single channel, or [channels, samples]; any number of samples, also none.

        Returns:
          float32 of the chunk's shape. The first `latency` samples of a signal are zeros.

        Raises:
          ValueError: if the shape doesn't fit, or samples are complex, NaN, infinite or absurdly large. The
            stream is then as if the chunk had not come.
        """
        start = time.perf_counter()
        if np.iscomplexobj(chunk):
            raise ValueError("the chunk holds complex samples: expected real ones, a wave and no spectrum")
        chunk = np.asarray(chunk, np.float32)
        wave = chunk[None] if chunk.ndim == 1 else chunk
        if wave.ndim != 2 or len(wave) != self.channels:
            expected = f"[{self.channels}, samples]" + (" or [samples]" if self.channels == 1 else "")
            raise ValueError(f"a chunk of shape {chunk.shape}: expected {expected}")
        if fit_samples(wave) < wave.shape[-1]:
            raise ValueError(
                f"the chunk holds samples that are NaN, infinite, or beyond {LOUDEST:g} (full scale is 1): "
                "correct what made them"
            )
        ready = np.concatenate([self._ready, self._enhance(wave)], axis=-1)
        given, self._ready = np.split(ready, [wave.shape[-1]], axis=-1)
        if self.wet < 1:
            dry, self._dry = np.split(np.concatenate([self._dry, wave], axis=-1), [wave.shape[-1]], axis=-1)
            given = blend(given, dry, self.wet)
        self._count_steps(time.perf_counter() - start)
        return given.reshape(chunk.shape)

    def flush(self) -> np.ndarray:
        """End the signal: the last `latency` samples, float32 [channels, latency]; [latency] of one channel.

        All that was given, without its first `latency` samples, is aligned with the input, sample for sample.
        The stream is then ready for a new signal.
        """
        shape = (self.channels, self.latency) if self.channels > 1 else (self.latency,)
        rest = self.push(np.zeros(shape, np.float32))
        self.reset()
        return rest

    def _enhance(self, wave: np.ndarray) -> np.ndarray:
        """float32 [channels, samples] -> the enhanced samples that this makes ready, in order."""
        if self._changes:
            wave = self._changes[0](wave)
        pending = np.concatenate([self._pending, wave], axis=-1)
        blocks = pending.shape[-1] // self._block
        enhanced = [np.zeros((self.channels, 0), np.float32)]
        for start in range(0, blocks * self._block, self._block):
            enhanced.append(self._step(pending[:, start : start + self._block]))
        self._pending = pending[:, blocks * self._block :].copy()
        result = np.concatenate(enhanced, axis=-1)
        early = min(self._early, result.shape[-1])
        self._early -= early
        result = result[:, early:]
        return self._changes[1](result) if self._changes else result

    def _step(self, block: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        self._state, enhanced = self._program(self.params, self._state, block, self._keys)
        enhanced = np.asarray(enhanced)
        self._step_seconds.append(time.perf_counter() - start)
        return enhanced

    def _count_steps(self, seconds: float) -> None:
        """Count the steps of a push that took so long; what else it did, and those before, falls on them."""
        self._seconds += seconds
        if self._step_seconds:
            others = (self._seconds - sum(self._step_seconds)) / len(self._step_seconds)
            for own in self._step_seconds:
                self.times.record(own + others)
            self._step_seconds, self._seconds = [], 0.0
