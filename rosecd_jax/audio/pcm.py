"""Encoding and decoding of samples in raw PCM and uncompressed WAV."""

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Encoding:
    """A little-endian encoding of samples, named as in ffmpeg.

    Attributes:
      name: "u8", "s16le", "s24le", "s32le", "f32le" or "f64le".
      bits: bits per sample.
      floating: whether samples are floating-point numbers.
    """

    name: str
    bits: int
    floating: bool = False

    @property
    def size(self) -> int:
        """Bytes per sample."""
        return self.bits // 8

    def decode(self, data: bytes, channels: int) -> NDArray[np.float32]:
        """Decode whole frames of interleaved samples to float32 [channels, samples], full scale 1.

        Raises:
          ValueError: if the bytes are not whole frames.
        """
        if len(data) % (self.size * channels):
            raise ValueError(f"{len(data)} bytes are not whole frames of {channels} {self.name} samples")
        if self.floating:
            samples = np.frombuffer(data, f"<f{self.size}")
        elif self.bits == 8:
            samples = (np.frombuffer(data, np.uint8) - 128.0) / 128
        else:
            # Place the bytes at the top of 32 bits, so that all widths share one scale.
            wide = np.zeros((len(data) // self.size, 4), np.uint8)
            wide[:, 4 - self.size :] = np.frombuffer(data, np.uint8).reshape(-1, self.size)
            samples = wide.view("<i4")[:, 0] / 2.0**31
        with np.errstate(over="ignore"):  # becomes infinite
            samples = samples.astype(np.float32)
        return samples.reshape(-1, channels).T

    def clipped(self, wave: NDArray[np.float32]) -> int:
        """Count the samples that `encode` clips."""
        if self.floating:
            return 0
        steps = 2 ** (self.bits - 1)
        whole = self._whole(wave)
        return int(np.sum((whole < -steps) | (whole > steps - 1)))

    def _whole(self, wave: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scale to integers and round, without clipping."""
        return np.round(wave.astype(np.float64) * 2 ** (self.bits - 1))

    def encode(self, wave: NDArray[np.float32]) -> bytes:
        """Encode float32 [channels, samples] as interleaved samples; integers are rounded and clipped."""
        samples = np.ascontiguousarray(wave.T)
        if self.floating:
            return samples.astype(f"<f{self.size}").tobytes()
        steps = 2 ** (self.bits - 1)
        whole = np.clip(self._whole(samples), -steps, steps - 1).astype("<i4")
        if self.bits == 8:
            return (whole + 128).astype(np.uint8).tobytes()
        return whole.view(np.uint8).reshape(-1, 4)[:, : self.size].tobytes()


ENCODINGS = {
    encoding.name: encoding
    for encoding in (
        Encoding("u8", 8),
        Encoding("s16le", 16),
        Encoding("s24le", 24),
        Encoding("s32le", 32),
        Encoding("f32le", 32, floating=True),
        Encoding("f64le", 64, floating=True),
    )
}
