"""StreamingEnhancer: chunks of any size in, as many samples out, with a fixed latency."""

import math
import numbers
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
"""Bound of the samples' magnitude, so that no product overflows; full scale is 1."""


def fit_samples(wave: np.ndarray) -> int:
    """Count the samples of real [channels, samples] before the first that is NaN, infinite or too large."""
    fit = (np.abs(wave) < LOUDEST).all(axis=0)
    return wave.shape[-1] if fit.all() else int(np.argmin(fit))


class StreamingEnhancer:
    """A model that enhances a signal in real time: `push` chunks, then `flush`.

    The output is the enhanced signal, delayed by `latency` samples. It doesn't depend on how the input is
    cut into chunks. Each channel is enhanced separately. The program is compiled on construction.

    Attributes:
      model, params, sampler, config: as passed; the sampler is resolved for the model.
      channels: number of channels of the signal.
      sample_rate: rate of the signal, in Hz.
      latency: delay of the output in samples, without computation: the block (less one sample), look-ahead,
        cross-fade, `front_end.reach` - 1 hops, and half of the resampling filters.
      times: times of the steps so far, including resampling.
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
          sample_rate: None for the model's; other rates are resampled to it and back, which adds latency and
            removes everything above half the model's rate.
          seed: seed of the sampler's noise.
          programs: programs of the same model, parameters and sampler, shared with other streams.
          wet: share of the model's output in the result, see `models.enhancement.wet_share`.

        Raises:
          ValueError: if the sampler or window doesn't fit the model, or channels or rate are out of range.
        """
        front = model.front_end
        if not isinstance(channels, numbers.Integral) or channels < 1:
            raise ValueError(f"{channels!r} channels: a stream has a whole number of at least one")
        sample_rate = front.sample_rate if sample_rate is None else sample_rate
        is_number = isinstance(sample_rate, numbers.Real)
        if not is_number or not 1000 <= sample_rate <= 384_000 or sample_rate != int(sample_rate):
            raise ValueError(f"a sample rate of {sample_rate!r} Hz: expected a whole number, 1000 to 384,000")
        sample_rate = int(sample_rate)
        self.model, self.config, self.sampler = model, config, sampler.resolve(model)
        self.params = jax.device_put(params)  # else NumPy arrays would be copied at every step
        self.channels, self.sample_rate, self.wet = channels, sample_rate, wet

        self._keys, self._block = stream_keys(seed, channels), config.block(front)
        programs = programs or StreamPrograms(model, self.params, self.sampler)
        self._program = programs(config, channels)
        self.times = StepTimes(self._block / front.sample_rate)

        late = self._block - 1 + config.delay(front)
        self._changes: tuple[StreamResampler, ...] = ()
        if sample_rate != front.sample_rate:
            to_model = StreamResampler(sample_rate, front.sample_rate, channels)
            self._changes = to_model, StreamResampler(front.sample_rate, sample_rate, channels)
            seconds = late / front.sample_rate + sum(change.lag for change in self._changes)
            late = math.ceil(seconds * sample_rate)
        self.latency = late
        self.reset()

    @property
    def latency_seconds(self) -> float:
        return self.latency / self.sample_rate

    def reset(self) -> None:
        """Start a new signal: discard all previous samples."""
        self._state = initial_state(self.model, self.config, self.channels)
        self._early = self.config.delay(self.model.front_end)
        self._pending = np.zeros((self.channels, 0), np.float32)
        self._ready = np.zeros((self.channels, self.latency), np.float32)
        self._dry = self._ready  # the input, delayed like the output
        self._step_seconds: list[float] = []
        self._seconds = 0.0  # time since the last step was counted
        for change in self._changes:
            change.reset()

    def push(self, chunk: np.ndarray) -> np.ndarray:
        """Consume the next samples and return as many, enhanced, from `latency` samples earlier.

        Args:
          chunk: real [samples] of a single channel, or [channels, samples]; may be empty.

        Returns:
          float32 of the chunk's shape. The first `latency` samples of a signal are zeros.

        Raises:
          ValueError: if the shape is wrong, or samples are complex, NaN, infinite or too large. The stream is
            then unchanged.
        """
        start = time.perf_counter()
        if np.iscomplexobj(chunk):
            raise ValueError("the chunk holds complex samples: expected real ones, not a spectrogram")
        chunk = np.asarray(chunk, np.float32)
        wave = chunk[None] if chunk.ndim == 1 else chunk
        if wave.ndim != 2 or len(wave) != self.channels:
            expected = f"[{self.channels}, samples]" + (" or [samples]" if self.channels == 1 else "")
            raise ValueError(f"a chunk of shape {chunk.shape}: expected {expected}")
        if fit_samples(wave) < wave.shape[-1]:
            raise ValueError(
                f"the chunk holds samples that are NaN, infinite, or beyond {LOUDEST:g} (full scale is 1): "
                "fix their source"
            )
        ready = np.concatenate([self._ready, self._enhance(wave)], axis=-1)
        output, self._ready = np.split(ready, [wave.shape[-1]], axis=-1)
        if self.wet < 1:
            dry, self._dry = np.split(np.concatenate([self._dry, wave], axis=-1), [wave.shape[-1]], axis=-1)
            output = blend(output, dry, self.wet)
        self._count_steps(time.perf_counter() - start)
        return output.reshape(chunk.shape)

    def flush(self) -> np.ndarray:
        """End the signal: return the last `latency` samples, float32 [channels, latency] or [latency].

        The whole output without its first `latency` samples is aligned with the input, sample for sample.
        The stream is then ready for a new signal.
        """
        shape = (self.channels, self.latency) if self.channels > 1 else (self.latency,)
        rest = self.push(np.zeros(shape, np.float32))
        self.reset()
        return rest

    def _enhance(self, wave: np.ndarray) -> np.ndarray:
        """Push float32 [channels, samples] and return the enhanced samples that are ready."""
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
        """Record the steps of a push of `seconds`; they share its other work and that of earlier pushes."""
        self._seconds += seconds
        if self._step_seconds:
            others = (self._seconds - sum(self._step_seconds)) / len(self._step_seconds)
            for own in self._step_seconds:
                self.times.record(own + others)
            self._step_seconds, self._seconds = [], 0.0
