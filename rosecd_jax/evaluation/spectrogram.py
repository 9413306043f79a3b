"""Spectrograms as small PNG images, without a plotting library."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from rosecd_jax.extras import extra

__all__ = ["COLORS", "RANGE_DB", "decibels", "picture", "png"]

RANGE_DB = 80.0
"""Range of the color scale below the maximum of a recording."""
WIDTH, HEIGHT = 480, 144  # maximum columns and rows of an image
WINDOW_SECONDS = 0.032
LEVELS = 64
# With increasing luminance, so that they are distinguishable without color vision.
ANCHORS = (
    (5, 6, 22),
    (38, 20, 84),
    (92, 28, 121),
    (150, 44, 120),
    (207, 68, 95),
    (243, 115, 67),
    (253, 181, 91),
)
COLORS = (*ANCHORS, (253, 246, 200))


def decibels(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Compute the absolute level over time and frequency.

    Args:
      wave: float32 [samples].
      sample_rate: Hz.

    Returns:
      float32 [rows, columns] in dB, at most 144 by 480; from 0 Hz in row 0 to half the sample rate.
    """
    with extra("eval", "a report's spectrograms"):
        import librosa

    window = 2 ** max(4, round(np.log2(WINDOW_SECONDS * sample_rate)))
    hop = max(1, min(window // 4, wave.size // WIDTH))
    padded = np.pad(wave, (0, max(0, window - wave.size)))
    power = np.abs(librosa.stft(padded, n_fft=window, hop_length=hop)) ** 2
    pooled = _pool(_pool(power, HEIGHT).T, WIDTH).T
    return librosa.power_to_db(pooled, ref=1.0, amin=1e-12, top_db=None).astype(np.float32)


def _pool(values: np.ndarray, rows: int) -> np.ndarray:
    """Average neighboring rows so that at most `rows` remain."""
    if len(values) <= rows:
        return values
    starts = np.arange(rows) * len(values) // rows
    counts = np.diff(np.append(starts, len(values)))
    return np.add.reduceat(values, starts, axis=0) / counts[:, None]


def picture(level: np.ndarray, loudest: float) -> bytes:
    """Draw levels in dB, [rows, columns], as a PNG in which `loudest` and above has the lightest color."""
    share = 1 + (level[::-1] - loudest) / RANGE_DB
    indices = np.round(np.clip(share, 0, 1) * (LEVELS - 1)).astype(np.uint8)
    places = np.linspace(0, len(COLORS) - 1, LEVELS)
    channels = np.asarray(COLORS, np.float64).T
    palette = [np.interp(places, np.arange(len(COLORS)), channel) for channel in channels]
    return png(indices, np.round(np.stack(palette, axis=1)).astype(np.uint8))


def png(indices: np.ndarray, palette: Sequence[Sequence[int]] | np.ndarray) -> bytes:
    """Encode an image of palette indices, uint8 [rows, columns], with a palette, uint8 [colors, 3]."""
    rows, columns = indices.shape
    filtered = np.pad(indices, ((0, 0), (1, 0)))  # every row begins with its filter, 0: none
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", np.asarray(palette, np.uint8).tobytes()),
        (b"IDAT", zlib.compress(filtered.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(kind, content) for kind, content in parts)


def _part(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
