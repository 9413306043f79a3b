"""Pairing of files, and alignment of their waves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rosecd_jax.audio import io

HOPS_SECONDS = 0.032  # maximum difference of lengths: four hops of 8 ms, which programs cut or pad
DELAY_SECONDS = 0.125  # maximum delay that is searched
LIKE = 0.2  # minimum normalized correlation of two waves of the same speech


def counterpart(folder: Path, name: Path) -> Path:
    """Find the audio file `name` in a folder, or else the one that differs only in its suffix.

    Raises:
      AudioError: if there is none, or more than one.
    """
    if (folder / name).exists():
        return folder / name
    parent = (folder / name).parent
    found = sorted(path for path in parent.iterdir() if path.stem == name.stem) if parent.is_dir() else []
    found = [path for path in found if path.is_file() and io.is_audio(path)]
    if len(found) > 1:
        listed = ", ".join(path.name for path in found)
        raise io.AudioError(f"{folder / name}: no such file, but {listed}; keep one of them")
    if not found:
        raise io.AudioError(f"{folder / name}: no such file, with this or another suffix")
    return found[0]


def fit(name: str, waves: Sequence[np.ndarray], rates: Sequence[int]) -> tuple[tuple[np.ndarray, ...], str]:
    """Cut clean, noisy and enhanced waves [channels, samples] to one length, if they differ only slightly.

    Returns:
      The waves, and a note if they were cut.

    Raises:
      ValueError: if their rates or channels differ, or their lengths by more than `HOPS_SECONDS`.
    """
    sides = "clean", "noisy", "enhanced"
    if len(set(rates)) > 1:
        listed = ", ".join(f"{side} {rate} Hz" for side, rate in zip(sides, rates, strict=True))
        raise ValueError(f"{name}: sample rates differ ({listed}); convert the files to one")
    if len({len(wave) for wave in waves}) > 1:
        listed = ", ".join(f"{side} {len(wave)}" for side, wave in zip(sides, waves, strict=True))
        raise ValueError(f"{name}: numbers of channels differ ({listed}); mix the files down or split them")
    lengths = [wave.shape[-1] for wave in waves]
    shortest, longest = min(lengths), max(lengths)
    if shortest == longest:
        return tuple(waves), ""
    listed = ", ".join(f"{side} {length}" for side, length in zip(sides, lengths, strict=True))
    if longest - shortest > HOPS_SECONDS * rates[0]:
        raise ValueError(
            f"{name}: lengths differ ({listed} samples); align the files and cut or pad them to one length"
        )
    return tuple(wave[:, :shortest] for wave in waves), f"cut to {shortest} samples ({listed})"


def delay(clean: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float | None:
    """Measure an estimate's delay to half a sample, up to 1/8 s; both [samples]. None if too unlike."""
    clean, estimate = (wave - wave.mean(dtype=np.float64) for wave in (clean, estimate))
    energy = np.sqrt(np.sum(clean**2, dtype=np.float64) * np.sum(estimate**2, dtype=np.float64))
    if not energy:
        return None
    reach = min(round(DELAY_SECONDS * sample_rate), clean.size - 1)
    size = 1 << int(clean.size + reach).bit_length()
    product = np.fft.rfft(estimate, size) * np.conj(np.fft.rfft(clean, size))
    correlation = np.abs(np.fft.irfft(product, size)[np.r_[-reach:0, 0 : reach + 1]])
    best = int(np.argmax(correlation))
    if correlation[best] <= LIKE * energy:
        return None
    left, top, right = np.pad(correlation, 1)[best : best + 3]
    curvature = left - 2 * top + right
    vertex = (left - right) / 2 / curvature if curvature and 0 < best < 2 * reach else 0.0  # of a parabola
    halves = round(2 * (best - reach + vertex))
    return halves / 2 if halves % 2 else halves // 2
