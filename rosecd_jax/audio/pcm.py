"""Samples as bytes: the encodings of raw PCM and of uncompressed WAV, and back."""

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How a sample is stored, little-endian; the names are ffmpeg's.

    Attributes:
      name: "u8", "s16le", "s24le", "s32le", "f32le" or "f64le".
      bits: of a sample.
      floating: whether it is a floating-point number.
    """

    name: str
    bits: int
    floating: bool = False

    @property
    def size(self) -> int:
        """Bytes of a sample."""
        return self.bits // 8

    def decode(self, data: bytes, channels: int) -> NDArray[np.float32]:
        """Interleaved samples, whole frames of all channels -> float32 [channels, samples], full scale 1.

        Raises:
          ValueError: if the bytes are not whole frames.
        """
        if len(data) % (self.size * channels):
            raise ValueError(f"{len(data)} bytes are no whole frames of {channels} {self.name} samples")
        if self.floating:
            samples = np.frombuffer(data, f"<f{self.size}")
        elif self.bits == 8:
            samples = (np.frombuffer(data, np.uint8) - 128.0) / 128
        else:
            # The bytes at the top of 32 bits, whatever their number: then one scale goes for all.
            wide = np.zeros((len(data) // self.size, 4), np.uint8)
            wide[:, 4 - self.size :] = np.frombuffer(data, np.uint8).reshape(-1, self.size)
            samples = wide.view("<i4")[:, 0] / 2.0**31
        return samples.astype(np.float32).reshape(-1, channels).T

    def encode(self, wave: NDArray[np.float32]) -> bytes:
        """float32 [channels, samples] -> interleaved; integers are rounded, and clipped at full scale."""
        samples = np.ascontiguousarray(wave.T)
        if self.floating:
            return samples.astype(f"<f{self.size}").tobytes()
        steps = 2 ** (self.bits - 1)
        whole = np.clip(np.round(samples.astype(np.float64) * steps), -steps, steps - 1).astype("<i4")
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
