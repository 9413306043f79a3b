"""Measurements of a pair of recordings for `rosecd check`, in one pass over both files."""

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rosecd_jax.audio import io
from rosecd_jax.evaluation.pairing import DELAY_SECONDS, LIKE, delay
from rosecd_jax.metrics import evaluate_pair

LIMIT_SECONDS = 60.0  # measured of each file; length, peak, digest and NaN checks use the whole file
FAR = 0.3  # minimum normalized correlation for a delay beyond `pairing.DELAY_SECONDS`
SHARPER = 0.02  # minimum advantage of a delay over none in the correlation of first differences
BANDS = 64  # from 0 Hz to half the sample rate
FRAME = 1024  # samples of a spectrum
BAND_FLOOR_DB = -60.0  # relative to the strongest band; below it there is no content
EDGE_DB = 20.0  # minimum drop of the spectrum within 7 bands at a cutoff, steeper than that of speech
LEVEL_FRAME_SECONDS = 0.032
DYNAMICS_DB = 1.0  # minimum difference in dynamics of swapped files


class Scores(NamedTuple):
    """Scores of the noisy file against the clean one; nan where undefined."""

    pesq: float
    estoi: float
    si_sdr: float  # dB


@dataclasses.dataclass(frozen=True)
class Side:
    """Measurements of one file, taken from its first channel.

    Attributes:
      file: path below DATA.
      problem: reason for missing measurements, or "".
      error: message of the problem.
      sample_rate: Hz.
      samples: per channel.
      format, subtype: container and sample encoding, as named by libsndfile.
      digest: digest of the samples of all channels.
      peak: maximum magnitude; full scale is 1.
      constant: whether all samples are equal, as in silence.
      level_db: standard deviation, dBFS.
      offset: mean, divided by the standard deviation.
      clipped: number of samples that seem clipped at the peak.
      bandwidth: cutoff of the spectrum in Hz; half the sample rate if there is none.
      dynamics_db: level difference of loud and quiet frames (95th and 10th percentile).
    """

    file: str
    problem: Literal["", "unreadable", "not finite"] = ""
    error: str = ""
    sample_rate: int = 0
    channels: int = 0
    samples: int = 0
    format: str = ""
    subtype: str = ""
    digest: str = ""
    peak: float = 0.0
    constant: bool = False
    level_db: float = -math.inf
    offset: float = 0.0
    clipped: int = 0
    bandwidth: float = 0.0
    dynamics_db: float = 0.0

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate if self.sample_rate else 0.0


@dataclasses.dataclass(frozen=True)
class Relation:
    """Model of a noisy file: gain · clean, delayed by `delay` samples, plus noise.

    Attributes:
      delay: samples; None if the noisy file does not contain the clean one at any delay.
      correlation: normalized, -1 to 1, at that delay (0 if it is None), without means.
      gain: least-squares factor of the clean wave in the noisy one, negative if it is inverted.
    """

    delay: int | None
    correlation: float
    gain: float

    @property
    def snr_db(self) -> float:
        """Ratio of the clean wave's part in the noisy one to the rest, dB; inf without a rest."""
        speech = self.correlation**2
        return 10 * math.log10(speech / (1 - speech)) if 0 < speech < 1 else math.inf if speech else -math.inf

    @property
    def added_snr_db(self) -> float:
        """Ratio of the clean wave to the added noise, dB, assuming a gain of 1."""
        rest = (self.gain / self.correlation) ** 2 - 2 * self.gain + 1 if self.correlation else math.inf
        return -10 * math.log10(rest) if rest > 0 else math.inf

    @property
    def back(self) -> float:
        """Least-squares factor of the noisy wave in the clean one: 1 if the two are swapped."""
        return self.correlation**2 / self.gain if self.gain else 0.0

    def is_swapped(self, clean_db: float, noisy_db: float) -> bool:
        """Return whether clean = noisy + noise rather than the reverse, and the `dynamics` of both agree."""
        is_back = abs(self.back - 1) < (1 - self.gain) / 2
        return is_back and self.delay is not None and noisy_db > clean_db + DYNAMICS_DB


@dataclasses.dataclass(frozen=True)
class Facts:
    """Measurements of a pair; a side is None if the file is missing.

    Attributes:
      split: the folder below DATA with the pair's clean/ and noisy/; "" for DATA itself.
      relation: None if the files can't be compared, or one of them is constant.
      scores: None if they were not requested, or can't be computed.
    """

    split: str
    clean: Side | None
    noisy: Side | None
    relation: Relation | None = None
    scores: Scores | None = None

    @property
    def sides(self) -> list[Side]:
        """The existing files."""
        return [side for side in (self.clean, self.noisy) if side]

    @property
    def pair(self) -> tuple[Side, Side] | None:
        """Both files, if both exist and could be read."""
        clean, noisy = self.clean, self.noisy
        return (clean, noisy) if clean and noisy and not (clean.problem or noisy.problem) else None


class Pair(NamedTuple):
    """Location of a pair: `clean` and `noisy` are paths below `data`, or None."""

    data: Path
    split: str
    clean: str | None
    noisy: str | None


def measure(pair: Pair, scores: bool = False) -> Facts:
    """Read the files of a pair and measure them; with `scores`, also score the noisy one.

    Files that can't be read are recorded with their problem; no error is raised for them.
    """
    sides, waves = [], []
    for file in (pair.clean, pair.noisy):
        side, wave = _read(pair.data, file) if file else (None, None)
        sides.append(side)
        waves.append(wave)
    facts = Facts(pair.split, *sides)
    clean, noisy = waves
    if not facts.pair or clean is None or noisy is None or sides[0].sample_rate != sides[1].sample_rate:
        return facts
    relation = relate(clean, noisy, sides[0].sample_rate)
    return dataclasses.replace(facts, relation=relation, scores=_score(pair) if scores else None)


def _read(data: Path, file: str) -> tuple[Side, NDArray[np.float32] | None]:
    """Measure a file; also return the beginning of its first channel, [samples]."""
    try:
        header = io.info(data / file)
        room = round(LIMIT_SECONDS * header.sample_rate)
        digest, kept, samples = hashlib.blake2b(str(header.sample_rate).encode(), digest_size=16), [], 0
        low, high = math.inf, -math.inf
        for block in io.read_blocks(data / file):
            digest.update(block.tobytes())
            if samples < room:
                kept.append(block[0])
            samples += block.shape[1]
            low, high = min(low, float(block[0].min())), max(high, float(block[0].max()))
    except io.NotFiniteError as error:
        return Side(file, "not finite", str(error)), None
    except io.AudioError as error:
        return Side(file, "unreadable", str(error)), None
    wave = np.concatenate(kept)[:room]
    level_db, offset = _level(wave)
    side = Side(
        file,
        sample_rate=header.sample_rate,
        channels=header.channels,
        samples=samples,
        format=header.format,
        subtype=header.subtype,
        digest=digest.hexdigest(),
        peak=max(high, -low),
        constant=high == low,
        clipped=_clipped(wave),
        bandwidth=_bandwidth(wave, header.sample_rate),
        dynamics_db=dynamics(wave, header.sample_rate),
        level_db=level_db,
        offset=offset,
    )
    return side, wave


def _level(wave: NDArray[np.float32]) -> tuple[float, float]:
    """Compute level in dBFS and offset, as in `Side`."""
    mean, deviation = float(np.mean(wave, dtype=np.float64)), float(np.std(wave, dtype=np.float64))
    return (20 * math.log10(deviation), mean / deviation) if deviation else (-math.inf, 0.0)


def _clipped(wave: NDArray[np.float32]) -> int:
    """Count the samples at the peak if there are enough to conclude that the wave was clipped, else return 0.

    Unclipped waves have few samples at the peak; a tone has a sixth of those within 10 % of it.
    """
    magnitude = np.abs(wave)
    peak = float(magnitude.max())
    top = magnitude >= 0.998 * peak
    near = int(np.sum(magnitude >= 0.9 * peak)) - int(top.sum())
    flat = int(np.sum(top[1:] & top[:-1]))  # a single sample at the peak is not a flat top
    count = int(top.sum())
    return count if peak and flat >= 5 and count >= 10 and count > near / 2 else 0


def _bandwidth(wave: NDArray[np.float32], sample_rate: int) -> float:
    """Find the cutoff of a wave's spectrum in Hz; half the sample rate if there is none."""
    frames = wave[: wave.size // FRAME * FRAME].reshape(-1, FRAME)
    total = np.zeros(FRAME // 2)
    for start in range(0, len(frames), 256):
        spectrum = np.fft.rfft(frames[start : start + 256] * np.hanning(FRAME))
        total += np.sum(np.abs(spectrum[:, 1:]) ** 2, axis=0)
    bands = total.reshape(BANDS, -1).sum(axis=1)
    if not bands.max():
        return sample_rate / 2
    levels = 10 * np.log10(bands / bands.max() + 1e-15)
    top = int(np.flatnonzero(levels > BAND_FLOOR_DB)[-1])
    below, above = levels[max(0, top - 3) : top + 1], levels[top + 3 : top + 6]
    is_edge = above.size and below.mean() - above.mean() > EDGE_DB
    return (top + 1) / BANDS * sample_rate / 2 if is_edge else sample_rate / 2


def dynamics(wave: NDArray[np.float32], sample_rate: int) -> float:
    """Measure the level difference of loud and quiet frames in dB, see `Side`."""
    size = max(1, round(LEVEL_FRAME_SECONDS * sample_rate))
    frames = wave[: wave.size // size * size].reshape(-1, size)
    if not frames.size:
        return 0.0
    levels = 10 * np.log10(np.var(frames, axis=1, dtype=np.float64) + 1e-10)  # 16 bits end near -98 dB
    quiet, loud = np.percentile(levels, (10, 95))
    return float(loud - quiet)


def relate(clean: NDArray[np.float32], noisy: NDArray[np.float32], sample_rate: int) -> Relation | None:
    """Find the delay and gain of a clean wave in a noisy one, [samples] each; None if one is constant."""
    size = min(clean.size, noisy.size)
    waves = [wave[:size].astype(np.float64) for wave in (clean, noisy)]
    clean, noisy = (wave - wave.mean() for wave in waves)
    if not (clean.any() and noisy.any()):
        return None
    found = delay(clean, noisy, sample_rate)
    late = _far_delay(clean, noisy, sample_rate) if found is None else round(found)
    if found is not None and late and not _is_sharper(clean, noisy, late):
        late = 0
    clean, noisy = _overlap(clean, noisy, late or 0)
    product, energy = float(clean @ noisy), float(clean @ clean)
    both = math.sqrt(energy * float(noisy @ noisy))
    if not both:
        return None
    correlation = max(-1.0, min(1.0, product / both))
    return Relation(late, 0.0 if abs(correlation) < 1e-9 else correlation, product / energy)


def _overlap(clean: np.ndarray, noisy: np.ndarray, late: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut both to their overlap, if `noisy` lags by `late` samples."""
    if late >= 0:
        return clean[: clean.size - late], noisy[late:]
    return clean[-late:], noisy[: noisy.size + late]


def _is_sharper(clean: np.ndarray, noisy: np.ndarray, late: int) -> bool:
    """Return whether the first differences, which are less correlated, favor the delay, too."""
    found = []
    for shift in (late, 0):
        one, other = _overlap(np.diff(clean), np.diff(noisy), shift)
        energy = math.sqrt(float(one @ one) * float(other @ other))
        found.append(abs(float(one @ other)) / energy if energy else 0.0)
    return found[0] > found[1] + SHARPER


def _far_delay(clean: np.ndarray, noisy: np.ndarray, sample_rate: int) -> int | None:
    """Find a delay beyond the range of `pairing.delay`, up to half the length, or None."""
    size = 1 << int(2 * clean.size - 1).bit_length()
    product = np.fft.rfft(noisy, size) * np.conj(np.fft.rfft(clean, size))
    reach = clean.size // 2
    correlation = np.abs(np.fft.irfft(product, size)[np.r_[-reach:0, 0 : reach + 1]])
    late = int(np.argmax(correlation)) - reach
    energy = math.sqrt(float(clean @ clean) * float(noisy @ noisy))
    is_far = abs(late) > DELAY_SECONDS * sample_rate
    return late if is_far and correlation.max() > max(FAR, LIKE) * energy else None


def _score(pair: Pair) -> Scores | None:
    """Score whole files; None if they can't be compared or a package is missing."""
    clean, noisy = (io.read(pair.data / str(file)) for file in (pair.clean, pair.noisy))
    size = min(clean.wave.shape[-1], noisy.wave.shape[-1])
    reference, mixture = (audio.wave[0, :size] for audio in (clean, noisy))
    try:
        found = evaluate_pair(reference, mixture, mixture, clean.sample_rate)
    except ImportError:  # pystoi, of the extra `eval`
        return None
    return Scores(found.pesq, found.estoi, found.si_sdr)
