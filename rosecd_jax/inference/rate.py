"""The sample rate of a stream, changed as it flows."""

import numpy as np
import soxr

QUALITY = "HQ"
"""soxr's 20-bit quality; the next better one waits twice as long for its longer filter."""


class RateChange:
    """Resampling of a stream of chunks; what comes out depends on how much went in, not on its cuts.

    The output is aligned with the input, but the filter has to wait for samples to come.

    Attributes:
      lag: seconds that the output's end is behind the input's at most.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        """Rates in Hz."""
        self._rates = rate_in, rate_out
        self._resampler = self._new(channels)
        self.lag = self._measure()

    def _new(self, channels: int) -> soxr.ResampleStream:
        return soxr.ResampleStream(*self._rates, channels, quality=QUALITY)

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        """float32 [channels, samples], any number -> float32 [channels, as many as are ready]."""
        return self._resampler.resample_chunk(np.ascontiguousarray(wave.T)).T

    def reset(self) -> None:
        """Forget what came before."""
        self._resampler.clear()

    def _measure(self) -> float:
        """Feed silence sample by sample: it is when the filter has waited longest that counts."""
        rate_in, rate_out = self._rates
        resampler = self._new(1)
        begun = rate_in // 2
        given = len(resampler.resample_chunk(np.zeros(begun, np.float32)))
        one, lag = np.zeros(1, np.float32), 0.0
        for fed in range(begun + 1, begun + 1 + rate_in // 4):
            given += len(resampler.resample_chunk(one))
            lag = max(lag, fed / rate_in - given / rate_out)
        return lag + 1 / rate_in + 1 / rate_out  # at an odd ratio another phase may wait a sample longer
