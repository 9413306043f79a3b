"""Waves at another sample rate: whole or in blocks by libsoxr, streams by filters of our own."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

ATTENUATION = 80.0
"""Of what would be aliased, in dB."""
TRANSITION = 0.1
"""Of the lower rate's band, what is lost at its top between passing and stopping."""
AT_ONCE = 1024
"""Output samples computed together: each takes a copy of what it sees."""
MOST_FILTERS = 441
"""In the table. With more places between two samples, it is interpolated, which is right to about -110 dB."""


def resampled_length(samples: int, rate_in: int, rate_out: int) -> int:
    """How many samples `resample` makes of `samples`: the nearest number, halves up as in soxr, not 0."""
    return max(1, (2 * samples * rate_out + rate_in) // (2 * rate_in))


def resample(wave: ArrayLike, rate_in: int, rate_out: int, samples: int | None = None) -> NDArray[np.float32]:
    """Resample [..., samples] from `rate_in` to `rate_out` (Hz), at soxr's best quality.

    Returns float32 of `resampled_length`, or cut or zero-padded to `samples`: how a wave gets its own length
    back after a stay at another rate. Equal rates leave the values as they are.
    """
    import soxr

    source = np.asarray(wave, np.float32)
    *leading, length = source.shape
    channels = source.reshape(math.prod(leading), length)
    if rate_in != rate_out:
        frames = channels.T.copy()  # soxr checks strides, of single samples too with numpy before 2.4
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
    """`resample` of a wave that comes in blocks [channels, samples]; the same values, in other blocks."""
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
    """Resampling of a stream in chunks, with little delay; how the input is cut does not matter.

    Streams of soxr, which files go through, filter in long blocks and wait for tens to hundreds of
    milliseconds. Here an output sample is a sum over the few milliseconds of input around it, by a filter
    from a table.

    The output is in line with the input: it has no delay of its own, its last samples only come later.

    Attributes:
      lag: seconds that the output's end lags the input's at most: half of the filter.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        """Rates in Hz."""
        common = math.gcd(rate_in, rate_out)
        self._up, self._down = rate_out // common, rate_in // common
        self._channels = channels
        narrowing = max(1.0, rate_in / rate_out)  # input samples per sample of the lower rate
        # Kaiser's formulas for the length and the shape of a window.
        self._half = math.ceil(narrowing * (ATTENUATION - 8) / (14.36 * TRANSITION))
        self._places = min(self._up, MOST_FILTERS)
        self._filters = self._make_filters((1 - TRANSITION / 2) / narrowing)
        self.lag = self._half / rate_in
        self.reset()

    def _make_filters(self, cutoff: float) -> np.ndarray:
        """A windowed sinc for each place from an input sample to the next, float32 [places + 1, 2 · half]."""
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
        """Forget what came before."""
        self._recent = np.zeros((self._channels, self._half - 1), np.float32)
        self._start = 1 - self._half  # number of the first sample in `recent`; silence before the signal
        self._given = 0

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        """float32 [channels, samples], any number -> float32 [channels, as many as are ready]."""
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
