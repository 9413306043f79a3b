"""Degradations of clean speech in test sets: added noise, measured rooms, simulated rooms.

Each class draws the values of a file (`draw`) and makes its waves from them, deterministically (`render`).
"""

import dataclasses
import functools
import json
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rosecd_jax.audio import io
from rosecd_jax.audio.loudness import loudness
from rosecd_jax.audio.mixing import PEAK, reverberate
from rosecd_jax.data.library import read_part
from rosecd_jax.data.pairs import DataError
from rosecd_jax.extras import extra

__all__ = ["AddedNoise", "Degradation", "MeasuredRoom", "Partner", "SimulatedRoom", "reverberation_time"]

ATTEMPTS = 200  # draws of a noise or room for one file; the first that is long and loud enough is used
TAIL = 0.5  # seconds of silence after speech in a simulated room, for its reverberation
SIMULATED_PEAK = 0.9
LOCK = threading.Lock()  # pyroomacoustics has one random generator for all threads

Wave = NDArray[np.float64]
Values = Mapping[str, Any]
"""Columns of a manifest."""


class Partner(NamedTuple):
    """A noise or a room response."""

    path: str  # below its corpus
    kind: str  # of noise, or corpus of rooms
    trim: float = 0.0  # seconds at either end that are not used


class Degradation(Protocol):
    """A degradation of clean speech.

    `draw` returns columns of a manifest; `render` makes (target, degraded), [samples], from them. `root` is
    the folder of the second corpus, and speech is at `sample_rate` Hz.
    """

    def draw(
        self, generator: Generator, root: Path, partners: Sequence[Partner], samples: int, sample_rate: int
    ) -> Values: ...

    def render(self, values: Values, root: Path, speech: Wave, sample_rate: int) -> tuple[Wave, Wave]: ...


@dataclasses.dataclass(frozen=True)
class AddedNoise:
    """Noise at an SNR over the whole file; if a mix peaks above 0.99, speech and noise are scaled down alike.

    Attributes:
      snr: dB; ends of a uniform distribution, or the levels to choose from if `choice`.
      measure: how levels are measured: mean power, or loudness according to ITU-R BS.1770 (48 kHz only).
      ramp: seconds of the linear fade at each end of speech and noise.
    """

    snr: tuple[float, ...]
    choice: bool = False
    measure: Literal["power", "loudness"] = "power"
    ramp: float = 0.0

    def draw(
        self, generator: Generator, root: Path, partners: Sequence[Partner], samples: int, sample_rate: int
    ) -> Values:
        snr_db = generator.choice(self.snr) if self.choice else generator.uniform(self.snr[0], self.snr[-1])
        longest = 0.0
        for _ in range(ATTEMPTS):
            noise = partners[int(generator.integers(len(partners)))]
            header = _info(root / noise.path)
            size, trim = _size(samples, header.sample_rate, sample_rate), int(noise.trim * header.sample_rate)
            room = header.samples - 2 * trim - size
            longest = max(longest, (room + size) / header.sample_rate)
            if room < 0:
                continue
            values = {
                "kind": noise.kind,
                "noise": noise.path,
                "noise_start": trim + int(generator.integers(room + 1)),
                "channel": int(generator.integers(header.channels)),
                "snr_db": float(snr_db),
            }
            if np.isfinite(self.level(self._noise(values, root, samples, sample_rate))):
                return values
        raise DataError(
            f"{root}: none of {ATTEMPTS} draws of a noise was both audible and as long as the speech, "
            f"{samples / sample_rate:.1f} s (the longest was {longest:.1f} s); add longer recordings"
        )

    def render(self, values: Values, root: Path, speech: Wave, sample_rate: int) -> tuple[Wave, Wave]:
        speech = _ramped(speech, self.ramp, sample_rate)
        noise = self._noise(values, root, speech.size, sample_rate)
        levels = {"speech": self.level(speech), "noise": self.level(noise)}
        for name, level in levels.items():
            if not np.isfinite(level):
                raise DataError(f"{values[name]}: the part that is used is silent; restore the file")
        noisy = speech + 10 ** ((levels["speech"] - levels["noise"] - values["snr_db"]) / 20) * noise
        scale = min(1.0, PEAK / max(np.abs(noisy).max(), np.abs(speech).max()))
        return scale * speech, scale * noisy

    def level(self, wave: Wave) -> float:
        """Measure the level in dB; -inf for silence."""
        if self.measure == "loudness":
            return loudness(wave)
        with np.errstate(divide="ignore"):
            return float(10 * np.log10(np.mean(np.square(wave))))

    def _noise(self, values: Values, root: Path, samples: int, sample_rate: int) -> Wave:
        path, start = root / values["noise"], values["noise_start"]
        size = _size(samples, _info(path).sample_rate, sample_rate)
        wave = read_part(str(path), values["channel"], start, size, sample_rate)[:samples]
        if wave.size < samples:
            raise DataError(f"{path}: ends before the part that is used; restore the file")
        return _ramped(wave, self.ramp, sample_rate)


@dataclasses.dataclass(frozen=True)
class MeasuredRoom:
    """A room's measured impulse response from its largest value on; the target is the dry speech.

    The reverberant speech is as loud as the dry (ITU-R BS.1770, so at 48 kHz only), unless it would clip.

    Attributes:
      longest: seconds; rooms with a longer reverberation time are not used.
      ramp: as in `AddedNoise`.
    """

    longest: float
    ramp: float = 0.0

    def draw(
        self, generator: Generator, root: Path, partners: Sequence[Partner], samples: int, sample_rate: int
    ) -> Values:
        for _ in range(ATTEMPTS):
            room = partners[int(generator.integers(len(partners)))]
            channel = int(generator.integers(_info(root / room.path).channels))
            values = {"kind": room.kind, "response": room.path, "channel": channel}
            t60 = _measured_time(root / room.path, channel, sample_rate)
            if t60 <= self.longest:
                return values | {"t60": t60}
        raise DataError(
            f"{root}: none of {ATTEMPTS} draws had a reverberation time of at most {self.longest:g} s; "
            "add shorter responses"
        )

    def render(self, values: Values, root: Path, speech: Wave, sample_rate: int) -> tuple[Wave, Wave]:
        response = _response(root / values["response"], values["channel"], sample_rate)
        _, heard = reverberate(speech, response, 0)
        gain_db = loudness(speech) - loudness(heard)
        if not np.isfinite(gain_db):
            raise DataError(f"{values['speech']}: silent, alone or in the room; restore the file")
        heard = 10 ** (gain_db / 20) * heard
        heard = heard / max(1.0, np.abs(heard).max())
        return _ramped(speech, self.ramp, sample_rate), _ramped(heard, self.ramp, sample_rate)


@dataclasses.dataclass(frozen=True)
class SimulatedRoom:
    """A box-shaped room, by image sources to the third order and ray tracing; the target is its direct path.

    Attributes:
      t60: seconds, from which the walls' absorption follows by Sabine's formula.
      size: meters, of length, width and height.
      wall: minimum distance of source and microphone from the walls, in meters.

    Pairs are ends of uniform distributions.
    """

    t60: tuple[float, float]
    size: tuple[tuple[float, float], ...]
    wall: float

    def draw(
        self, generator: Generator, root: Path, partners: Sequence[Partner], samples: int, sample_rate: int
    ) -> Values:
        _pyroomacoustics()  # so that nothing is written without it
        size = np.array([generator.uniform(*side) for side in self.size])
        places = {
            name: generator.uniform(self.wall, size - self.wall).tolist() for name in ("microphone", "source")
        }
        room = {"size": size.tolist(), **places, "seed": int(generator.integers(2**31))}
        return {"t60": float(generator.uniform(*self.t60)), "room": json.dumps(room)}

    def render(self, values: Values, root: Path, speech: Wave, sample_rate: int) -> tuple[Wave, Wave]:
        from scipy.signal import oaconvolve

        direct, whole = _simulate(values["t60"], json.loads(values["room"]), sample_rate)
        delay = int(np.argmax(np.abs(direct)))
        samples = speech.size + round(TAIL * sample_rate)
        waves = []
        for response in (direct, whole):
            wave = oaconvolve(speech, response)[delay : delay + samples]
            waves.append(np.pad(wave, (0, samples - wave.size)))
        target, heard = waves
        scale = SIMULATED_PEAK / max(np.abs(heard).max(), np.abs(target).max(), 1e-9)
        return scale * target, scale * heard


def reverberation_time(response: Wave, sample_rate: int) -> float:
    """Estimate a room's T60 in seconds from the decay between -5 and -35 dB (Schroeder's T30).

    It is infinite if the response, [samples], doesn't decay that far.
    """
    energy = np.cumsum(np.square(np.asarray(response, np.float64))[::-1])[::-1]
    energy = energy[: np.count_nonzero(energy > 0)]
    if not energy.size:
        return math.inf
    decay = 10 * np.log10(energy / energy[0])
    first, last = np.searchsorted(-decay, [5.0, 35.0])
    if last >= decay.size or last - first < 2:
        return math.inf
    slope, _ = np.polyfit(np.arange(first, last) / sample_rate, decay[first:last], 1)
    return float(-60 / slope)


@functools.lru_cache(2**16)
def _measured_time(path: Path, channel: int, sample_rate: int) -> float:
    return reverberation_time(_response(path, channel, sample_rate), sample_rate)


def _response(path: Path, channel: int, sample_rate: int) -> Wave:
    """Read a room's response, starting at its largest value, the direct sound."""
    response = np.asarray(read_part(str(path), channel, 0, -1, sample_rate), np.float64)
    return response[np.argmax(np.abs(response)) :]


def _simulate(t60: float, room: Mapping[str, Any], sample_rate: int) -> tuple[Wave, Wave]:
    """Return the responses of the direct path and of the whole room, on the same time axis."""
    pyroomacoustics, responses = _pyroomacoustics(), []
    with LOCK:
        pyroomacoustics.random.seed(room["seed"])
        absorption, order = pyroomacoustics.inverse_sabine(t60, room["size"])
        for highest, traced in ((0, False), (min(3, order), True)):
            box = pyroomacoustics.ShoeBox(
                room["size"],
                fs=sample_rate,
                materials=pyroomacoustics.Material(absorption),
                max_order=highest,
                ray_tracing=traced,
            )
            box.add_source(room["source"])
            box.add_microphone(room["microphone"])
            box.compute_rir()
            assert box.rir is not None
            responses.append(np.asarray(box.rir[0][0], np.float64))
    return responses[0], responses[1]


def _pyroomacoustics() -> Any:
    with extra("sets", "simulating rooms"):
        import pyroomacoustics
    return pyroomacoustics


@functools.lru_cache(2**16)
def _info(path: Path) -> io.AudioInfo:
    return io.info(path)


def _size(samples: int, rate_in: int, rate_out: int) -> int:
    """Return the number of samples at `rate_in` that make at least `samples` at `rate_out`."""
    return -(-samples * rate_in // rate_out)


def _ramped(wave: NDArray[np.floating], seconds: float, sample_rate: int) -> Wave:
    wave = np.array(wave, np.float64)
    ramp = np.linspace(0, 1, min(round(seconds * sample_rate), wave.size // 2))
    if ramp.size:
        wave[: ramp.size] *= ramp
        wave[-ramp.size :] *= ramp[::-1]
    return wave
