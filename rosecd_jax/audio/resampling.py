"""Resampling of waves, whole or in blocks, with libsoxr, and of streams with windowed sincs."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

ATTENUATION = 80.0
"""Attenuation of aliases in dB."""
TRANSITION = 0.1
"""Width of the transition band, as a fraction of the lower rate's band."""
AT_ONCE = 1024
"""Output samples computed together; each needs a copy of its input samples."""
MOST_FILTERS = 441
"""Maximum size of the table of filters. For more phases it is interpolated, with errors of about -110 dB."""


def resampled_length(samples: int, rate_in: int, rate_out: int) -> int:
    """Return the length of the output of `resample`: rounded to nearest, halves up as in soxr, at least 1."""
    return max(1, (2 * samples * rate_out + rate_in) // (2 * rate_in))


def resample(wave: ArrayLike, rate_in: int, rate_out: int, samples: int | None = None) -> NDArray[np.float32]:
    """Resample [..., samples] from `rate_in` to `rate_out` (Hz), at soxr's best quality.

    Returns float32 [..., `resampled_length`], or cut or zero-padded to [..., `samples`], which restores the
    length of a wave that is resampled back. Equal rates leave the values unchanged.
    """
    import soxr

    source = np.asarray(wave, np.float32)
    *leading, length = source.shape
    channels = source.reshape(math.prod(leading), length)
    if rate_in != rate_out:
        frames = channels.T.copy()  # soxr checks strides, with NumPy < 2.4 even those of single samples
        channels = soxr.resample(frames, rate_in, rate_out, quality="VHQ").T
    if samples is None:
        samples = resampled_length(length, rate_in, rate_out)
    result = np.zeros((len(channels), samples), np.float32)
    kept = min(samples, channels.shape[1])
    result[:, :kept] = channels[:, :kept]
    return result.reshape(*leading, samples)


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], rate_in: int, rate_out: int, samples: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Resample a wave given in blocks [channels, samples]: the values of `resample`, in other blocks."""
    import soxr

    length = produced = channels = 0
    stream = None

    def kept(block: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal produced
        block = block[:, : None if samples is None else max(0, samples - produced)]
        produced += block.shape[1]
        return block

    for block in blocks:
        length, channels = length + block.shape[1], len(block)
        if rate_in != rate_out:
            stream = stream or soxr.ResampleStream(rate_in, rate_out, channels, quality="VHQ")
            block = stream.resample_chunk(block.T.copy()).T
        yield kept(block)
    if stream is not None:
        yield kept(stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).T)
    if samples is None:
        samples = resampled_length(length, rate_in, rate_out)
    missing = samples - produced
    if missing > 0:
        yield np.zeros((channels, missing), np.float32)


class StreamResampler:
    """Low-latency resampling of a stream in chunks; the output does not depend on how the input is cut.

    soxr's streams, which are used for files, filter in long blocks and delay the output by tens to hundreds
    of milliseconds. Here an output sample is a sum over a few milliseconds of input, weighted by a filter
    from a table.

    The output is aligned with the input; only its end lags.

    Attributes:
      lag: maximum of that lag in seconds, half the length of a filter.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        """Rates in Hz."""
        common = math.gcd(rate_in, rate_out)
        self._up, self._down = rate_out // common, rate_in // common
        self._channels = channels
        narrowing = max(1.0, rate_in / rate_out)  # input samples per sample of the lower rate
        # Kaiser's formulas for the length and shape of a window.
        self._half = math.ceil(narrowing * (ATTENUATION - 8) / (14.36 * TRANSITION))
        self._places = min(self._up, MOST_FILTERS)
        self._filters = self._make_filters((1 - TRANSITION / 2) / narrowing)
        self.lag = self._half / rate_in
        self.reset()

    def _make_filters(self, cutoff: float) -> np.ndarray:
        """Windowed sincs for places from one input sample to the next, float32 [places + 1, 2 · half]."""
        places = np.arange(self._places + 1)[:, None] / self._places
        offsets = np.arange(1 - self._half, self._half + 1) - places
        shape = 0.1102 * (ATTENUATION - 8.7)
        window = np.i0(shape * np.sqrt(np.maximum(0, 1 - (offsets / self._half) ** 2)))
        filters = np.sinc(cutoff * offsets) * window
        return (filters / filters.sum(-1, keepdims=True)).astype(np.float32)

    def _filters_at(self, phases: np.ndarray) -> np.ndarray:
        """Filters for outputs `phases / up` of the way to the next input, float32 [outputs, 2 · half]."""
        rows, between = np.divmod(phases * self._places, self._up)
        if self._places == self._up:
            return self._filters[rows]
        share = (between / self._up).astype(np.float32)[:, None]
        return (1 - share) * self._filters[rows] + share * self._filters[rows + 1]

    def reset(self) -> None:
        """Start a new signal."""
        self._recent = np.zeros((self._channels, self._half - 1), np.float32)
        self._start = 1 - self._half  # index of the first sample in `recent`; silence before the signal
        self._given = 0

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        """Resample float32 [channels, any number] to float32 [channels, as many as are ready]."""
        self._recent = np.concatenate([self._recent, wave], axis=-1)
        fed = self._start + self._recent.shape[-1]
        ready = max(self._given, -(-(fed - self._half) * self._up // self._down))
        parts = [np.zeros((self._channels, 0), np.float32)]
        while self._given < ready:
            numbers = np.arange(self._given, min(ready, self._given + AT_ONCE))
            places, phases = np.divmod(numbers * self._down, self._up)
            seen = np.lib.stride_tricks.sliding_window_view(self._recent, 2 * self._half, axis=-1)
            around = seen[:, places - (self._half - 1) - self._start]
            parts.append((around * self._filters_at(phases)).sum(-1))
            self._given = int(numbers[-1]) + 1
        next_start = self._given * self._down // self._up - (self._half - 1)
        self._recent = self._recent[:, max(0, next_start - self._start) :]
        self._start = fed - self._recent.shape[-1]
        return np.concatenate(parts, axis=-1)
