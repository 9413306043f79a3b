"""A sound set of pairs, and the faults that test_check.py plants in it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from rosecd_jax.audio import io
from rosecd_jax.audio.mixing import mix_at_snr
from rosecd_jax.data.corpus import noises

RATE = 16_000
NAMES = ("a.wav", "b.wav", "c.wav", "sub/d.wav", "sub/e.wav")
SNRS = (0.0, 5.0, 10.0, 15.0, 20.0)


def speech(seed: int, samples: int) -> np.ndarray:
    """Speech-like signal: voiced syllables, hisses up to 8 kHz, pauses; [samples]."""
    generator = np.random.default_rng(seed)
    wave = 1e-4 * generator.normal(size=samples)
    start = 800
    while start < samples - 4800:
        length = int(generator.integers(1600, 4000))
        time = np.arange(length) / RATE
        phase = 2 * np.pi * np.cumsum(generator.uniform(90, 220) * (1 + 0.2 * np.sin(9 * time))) / RATE
        voiced = sum(np.sin(k * phase) / k for k in range(1, 30)) + 0.02 * generator.normal(size=length)
        hiss = 0.3 * np.diff(generator.normal(size=length + 1))
        syllable = hiss if generator.random() < 0.3 else voiced
        wave[start : start + length] += generator.uniform(0.3, 1) * np.hanning(length) * syllable
        start += length + int(generator.integers(0, 1600))
    return 0.4 * wave / np.abs(wave).max()


def write_set(folder: Path, names: tuple[str, ...] = NAMES, seed: int = 0) -> Path:
    for i, name in enumerate(names):
        samples = 24_000 + 800 * i
        noise = noises.colored(np.random.default_rng(seed + 100 + i), samples, RATE)
        clean, noisy = mix_at_snr(speech(seed + i, samples), noise, SNRS[i % len(SNRS)])
        io.write(folder / "clean" / name, clean, RATE)
        io.write(folder / "noisy" / name, noisy, RATE)
    return folder


def change(
    file: Path, how: Callable[[np.ndarray], np.ndarray], rate: int = RATE, subtype: str = "FLOAT"
) -> None:
    io.write(file, how(io.read(file).wave), rate, subtype=subtype)


def each(data: Path, how: Callable[[np.ndarray], np.ndarray], *sides: str) -> None:
    for side in sides or ("clean", "noisy"):
        for name in NAMES:
            change(data / side / name, how)


def late(samples: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda wave: np.roll(wave, samples, axis=1)


def clip(wave: np.ndarray) -> np.ndarray:
    most = 0.5 * np.abs(wave).max()
    return 1.3 * np.clip(wave, -most, most)


def move(data: Path, old: str, new: str) -> None:
    (data / new).parent.mkdir(exist_ok=True, parents=True)
    (data / old).rename(data / new)


def band(wave: np.ndarray) -> np.ndarray:
    """Through 8 kHz and back."""
    return io.resample(io.resample(wave, RATE, 8000), 8000, RATE)[:, : wave.shape[1]]


def stereo(wave: np.ndarray) -> np.ndarray:
    return np.repeat(wave, 2, axis=0)


def swap(data: Path) -> None:
    move(data, "clean", "other")
    move(data, "noisy", "clean")
    move(data, "other", "noisy")


def exchange(data: Path) -> None:
    """Two noisy files have each other's names."""
    move(data, "noisy/a.wav", "a")
    move(data, "noisy/b.wav", "noisy/a.wav")
    move(data, "a", "noisy/b.wav")


def renoise(data: Path) -> None:
    """The same recordings at -12 dB."""
    for i, name in enumerate(NAMES):
        clean = io.read(data / "clean" / name).wave[0]
        noise = noises.colored(np.random.default_rng(i), clean.size, RATE)
        for side, wave in zip(("clean", "noisy"), mix_at_snr(clean, noise, -12), strict=True):
            io.write(data / side / name, wave, RATE, subtype="FLOAT")


def copy(data: Path, old: str, new: str) -> None:
    for side in ("clean", "noisy"):
        shutil.copy(data / side / old, data / side / new)


def damage(file: Path) -> None:
    file.write_bytes(b"RIFF, but no more")


def not_a_number(file: Path) -> None:
    wave = io.read(file).wave
    wave[0, 99] = np.nan
    soundfile.write(file, wave.T, RATE, "FLOAT")


def resample(file: Path, rate: int) -> None:
    io.write(file, io.resample(io.read(file).wave, RATE, rate), rate)


def resample_all(data: Path, rate: int) -> None:
    for side in ("clean", "noisy"):
        for name in NAMES:
            resample(data / side / name, rate)


ALL_NOISY = {f"noisy/{name}" for name in NAMES}
ALL_CLEAN = {f"clean/{name}" for name in NAMES}
ALL = ALL_CLEAN | ALL_NOISY
FAULTS: dict[str, tuple[Callable[[Path], object], str, str, set[str]]] = {
    "no counterpart": (lambda d: (d / "noisy/a.wav").unlink(), "missing", "error", {"clean/a.wav"}),
    "no target": (lambda d: (d / "clean/a.wav").unlink(), "extra", "error", {"noisy/a.wav"}),
    "other name": (
        lambda d: move(d, "noisy/a.wav", "noisy/a_noisy.wav"), "misnamed", "error", {"noisy/a_noisy.wav"},
    ),
    "other folder": (
        lambda d: move(d, "noisy/sub/d.wav", "noisy/d.wav"), "misnamed", "error", {"noisy/d.wav"},
    ),
    "one stem, two files": (
        lambda d: io.write(d / "clean/a.flac", io.read(d / "clean/a.wav").wave / 2, RATE),
        "ambiguous", "error", {"clean/a.flac", "clean/a.wav"},
    ),
    "damaged": (lambda d: damage(d / "noisy/b.wav"), "unreadable", "error", {"noisy/b.wav"}),
    "unknown format": (lambda d: damage(d / "noisy/b.m4a"), "unreadable", "warning", {"noisy/b.m4a"}),
    "NaN": (lambda d: not_a_number(d / "clean/b.wav"), "not finite", "error", {"clean/b.wav"}),
    "silent clean": (lambda d: change(d / "clean/b.wav", np.zeros_like), "silence", "error", {"clean/b.wav"}),
    "constant noisy": (
        lambda d: change(d / "noisy/b.wav", np.ones_like), "silence", "error", {"noisy/b.wav"},
    ),
    "longer": (
        lambda d: change(d / "noisy/c.wav", lambda x: np.pad(x, ((0, 0), (0, 900)))),
        "length", "error", {"noisy/c.wav"},
    ),
    "a little shorter": (
        lambda d: change(d / "noisy/c.wav", lambda x: x[:, :-200]), "length", "warning", {"noisy/c.wav"},
    ),
    "one late": (lambda d: change(d / "noisy/a.wav", late(40)), "delay", "error", {"noisy/a.wav"}),
    "one sample early": (lambda d: change(d / "noisy/c.wav", late(-1)), "delay", "warning", {"noisy/c.wav"}),
    "all late": (lambda d: each(d, late(160), "noisy"), "delay", "error", ALL_NOISY),
    "very late": (lambda d: change(d / "noisy/c.wav", late(8000)), "delay", "error", {"noisy/c.wav"}),
    "others' names": (exchange, "unlike", "error", {"noisy/a.wav", "noisy/b.wav"}),
    "one louder": (lambda d: change(d / "noisy/c.wav", lambda x: 2 * x), "gain", "warning", {"noisy/c.wav"}),
    "all less loud": (lambda d: each(d, lambda x: 0.7 * x, "noisy"), "gain", "warning", ALL_NOISY),
    "inverted": (lambda d: change(d / "noisy/c.wav", np.negative), "polarity", "error", {"noisy/c.wav"}),
    "no noise": (
        lambda d: shutil.copy(d / "clean/b.wav", d / "noisy/b.wav"), "equal", "error", {"noisy/b.wav"},
    ),
    "swapped folders": (swap, "swapped", "error", ALL_NOISY),
    "very noisy": (renoise, "snr", "warning", set()),
    "very low": (lambda d: each(d, lambda x: 3e-3 * x), "level", "warning", ALL),
    "beyond full scale": (
        lambda d: [change(d / side / "b.wav", lambda x: 2.9 * x) for side in ("clean", "noisy")],
        "level", "warning", {"clean/b.wav", "noisy/b.wav"},
    ),
    "clipped clean": (lambda d: change(d / "clean/c.wav", clip), "clipping", "warning", {"clean/c.wav"}),
    "clipped noisy": (lambda d: change(d / "noisy/a.wav", clip), "clipping", "warning", {"noisy/a.wav"}),
    "offset": (lambda d: change(d / "noisy/a.wav", lambda x: x + 0.02), "offset", "warning", {"noisy/a.wav"}),
    "upsampled": (lambda d: each(d, band, "clean"), "bandwidth", "warning", ALL_CLEAN),
    "one pair at 48 kHz": (lambda d: resample(d / "noisy/a.wav", 48_000), "rate", "error", {"noisy/a.wav"}),
    "all at 8 kHz": (lambda d: resample_all(d, 8000), "rate", "warning", set()),
    "two channels": (
        lambda d: [change(d / side / "b.wav", stereo) for side in ("clean", "noisy")],
        "channels", "warning", {"clean/b.wav", "noisy/b.wav"},
    ),
    "one side in stereo": (
        lambda d: change(d / "noisy/b.wav", stereo),
        "channels", "error", {"noisy/b.wav"},
    ),
    "too short": (
        lambda d: [change(d / side / "b.wav", lambda x: x[:, 9000:14000]) for side in ("clean", "noisy")],
        "short", "warning", {"clean/b.wav", "noisy/b.wav"},
    ),
    "twice": (lambda d: copy(d, "b.wav", "f.wav"), "duplicate", "warning",
        {f"{side}/{name}.wav" for side in ("clean", "noisy") for name in "bf"},
    ),
}  # fmt: skip
ALSO = {
    "clipped clean": {("gain", "warning")},
    "clipped noisy": {("gain", "warning")},
    "one pair at 48 kHz": {("rate", "warning"), ("bandwidth", "warning")},
    "others' names": {("length", "error")},
    "one side in stereo": {("channels", "warning")},
}
"""What such a fault makes wrong besides."""
