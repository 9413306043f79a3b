"""Six kinds of synthetic noise, with parameters drawn from the generator.

All return finite float64 [samples] with an RMS of one. `sample_rate` is in Hz.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rosecd_jax.audio.mixing import fit_length

__all__ = ["GENERATORS", "babble", "colored", "hum", "impacts", "machinery", "modulated"]


def colored(generator: np.random.Generator, samples: int, sample_rate: int) -> NDArray[np.float64]:
    """Stationary noise whose power falls by 0 (white), 3 (pink) to 6 (brown) dB per octave."""
    slope = generator.uniform(0, 2)
    return _filtered(generator, samples, sample_rate, lambda frequency: frequency ** (-slope / 2))


def modulated(generator: np.random.Generator, samples: int, sample_rate: int) -> NDArray[np.float64]:
    """Colored noise with an amplitude modulated periodically, at 0.5 to 12 Hz, and at random."""
    time = np.arange(samples) / sample_rate
    speed, phase = generator.uniform(0.5, 12), generator.uniform(0, 2 * np.pi)
    regular = 1 + generator.uniform(0.5, 1) * np.sin(2 * np.pi * speed * time + phase)
    irregular = np.exp(0.7 * _drift(generator, samples, sample_rate, fastest=4))
    return _normalized(colored(generator, samples, sample_rate) * regular * irregular)


def hum(generator: np.random.Generator, samples: int, sample_rate: int) -> NDArray[np.float64]:
    """Mains hum at 50 or 60 Hz with slight drift, harmonics up to 1.2 kHz or less, and faint hiss."""
    mains = generator.choice((50, 60)) * (1 + 0.002 * _drift(generator, samples, sample_rate, fastest=1))
    tones = _harmonics(generator, mains, sample_rate, count=int(generator.integers(4, 21)))
    return _normalized(tones + generator.uniform(0.02, 0.2) * colored(generator, samples, sample_rate))


def machinery(generator: np.random.Generator, samples: int, sample_rate: int) -> NDArray[np.float64]:
    """A motor: harmonics of 15 to 120 Hz, and a band of noise modulated at the same frequency."""
    turns = generator.uniform(15, 120) * (1 + 0.02 * _drift(generator, samples, sample_rate, fastest=2))
    tones = _harmonics(generator, turns, sample_rate, count=int(generator.integers(5, 30)))
    center, octaves = _log_uniform(generator, 200, 0.4 * sample_rate), generator.uniform(0.2, 1.5)

    def bell(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-0.5 * (np.log2(frequency / center) / octaves) ** 2)

    band = _filtered(generator, samples, sample_rate, bell)
    pulse = 1 + generator.uniform(0, 0.9) * np.sin(2 * np.pi * np.cumsum(turns) / sample_rate)
    return _normalized(tones + generator.uniform(0.3, 2) * band * pulse)


def impacts(generator: np.random.Generator, samples: int, sample_rate: int) -> NDArray[np.float64]:
    """Clicks and knocks, 1 to 12 per second: decaying resonances and bursts of noise."""
    wave = np.zeros(samples)
    rate = generator.uniform(1, 12)
    for _ in range(1 + generator.poisson(rate * samples / sample_rate)):
        start = int(generator.integers(samples))
        decay = _log_uniform(generator, 0.001, 0.15)  # seconds
        time = np.arange(min(samples - start, max(1, int(7 * decay * sample_rate)))) / sample_rate
        if generator.random() < 0.5:
            body = generator.normal(size=time.size)
        else:
            modes = _log_uniform(generator, 100, 0.45 * sample_rate, size=5)  # Hz
            body = np.cos(2 * np.pi * np.outer(time, modes)) @ generator.normal(size=5)
        strength = np.exp(generator.normal(0, 0.7))
        wave[start : start + time.size] += strength * np.exp(-time / decay) * body
    return _normalized(wave)


def babble(
    generator: np.random.Generator, samples: int, waves: Sequence[NDArray[np.floating]]
) -> NDArray[np.float64]:
    """A sum of speech waves [any length], each shifted at random and attenuated by up to 6 dB.

    Raises ValueError if there are no waves, or one of them is empty or silent.
    """
    if not waves:
        raise ValueError("babble needs at least one wave")
    talkers = [
        10 ** generator.uniform(-0.3, 0) * fit_length(_normalized(wave), samples, generator) for wave in waves
    ]
    return _normalized(np.sum(talkers, axis=0))


# Functions of (generator, samples, sample_rate).
GENERATORS: dict[str, Callable[[np.random.Generator, int, int], NDArray[np.float64]]] = {
    "coloured": colored,  # the spelling of existing manifests
    "modulated": modulated,
    "hum": hum,
    "machinery": machinery,
    "impacts": impacts,
}


def _normalized(wave: NDArray[np.floating]) -> NDArray[np.float64]:
    wave = np.asarray(wave, np.float64)
    level = np.sqrt(np.mean(np.square(wave))) if wave.size else 0.0
    if level == 0:
        raise ValueError("a silent wave cannot be normalized")
    return wave / level


def _log_uniform(
    generator: np.random.Generator, low: float, high: float, size: int | None = None
) -> NDArray[np.float64]:
    return np.exp(generator.uniform(np.log(low), np.log(high), size))


def _filtered(
    generator: np.random.Generator,
    samples: int,
    sample_rate: int,
    magnitude: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Gaussian noise with the spectrum `magnitude`, a function of the frequency in Hz, above 20 Hz."""
    spectrum = np.fft.rfft(generator.normal(size=samples))
    frequency = np.fft.rfftfreq(samples, 1 / sample_rate)
    spectrum *= magnitude(np.maximum(frequency, 20)) * (frequency > 20)
    return _normalized(np.fft.irfft(spectrum, samples))


def _drift(
    generator: np.random.Generator, samples: int, sample_rate: int, fastest: float
) -> NDArray[np.float64]:
    """A random curve of about unit size that changes direction `fastest` times per second."""
    knots = generator.normal(size=int(samples / sample_rate * fastest) + 3)
    position = generator.random() + fastest * np.arange(samples) / sample_rate
    return np.interp(position, np.arange(knots.size), knots)


def _harmonics(
    generator: np.random.Generator, fundamental: NDArray[np.float64], sample_rate: int, count: int
) -> NDArray[np.float64]:
    """Harmonics of a varying frequency (Hz, [samples]) with random amplitudes that fall with frequency."""
    phase = 2 * np.pi * np.cumsum(fundamental) / sample_rate
    wave = np.zeros(fundamental.size)
    for multiple in range(1, count + 1):
        if multiple * fundamental.max() < sample_rate / 2:
            strength = generator.exponential() / np.sqrt(multiple)
            wave += strength * np.sin(multiple * phase + generator.uniform(0, 2 * np.pi))
    return _normalized(wave)
