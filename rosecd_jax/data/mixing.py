"""Mixing of noisy speech on the fly.

An example is a pure function of (seed, index). `Mixer.draw` draws all random values without reading a file;
`render` makes the waves of a draw deterministically, so that draws can be stored in a manifest and replayed.
"""

import dataclasses
import math
import warnings
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rosecd_jax.audio.io import AudioError
from rosecd_jax.audio.level import measure
from rosecd_jax.audio.mixing import fit_length, limit_band, noise_gain, reverberate, tilt
from rosecd_jax.config import check_fields
from rosecd_jax.data.corpus import noises
from rosecd_jax.data.library import Library, Recording, check_apart, open_library, read_part
from rosecd_jax.data.pairs import DataError

__all__ = ["Draw", "MixConfig", "MixedPairs", "Mixer", "NoiseDraw", "Piece", "open_mixer", "render"]

ENDLESS = 2**48
"""Number of examples: more than any run takes, within the limit of `len`, which grain calls."""
MOST_PIECES = 8  # utterances in one example
PAUSE = (0.1, 0.6)  # seconds between two utterances
LONGEST = 10.0  # seconds; speech is drawn with a probability proportional to its length, up to this
ATTEMPTS = 50  # draws for one example; the first that is neither silent nor unreadable is used
MOST_NOISES, MOST_TILT = 20, 24  # simultaneous noises, dB per octave
MOST_DB = 100  # of SNRs and levels; beyond ±MOST_DB, a sound is lost to float32 rounding
LEAST_RESPONSE = 0.005  # minimum seconds of a room's impulse response


@dataclasses.dataclass(frozen=True)
class MixConfig:
    """Distributions of the mixes; pairs of numbers are the ends of uniform distributions.

    Attributes:
      snr: dB, of the reverberant speech over the whole example, pauses included.
      without_noise: fraction of examples without noise.
      level: peak of the louder of mix and clean wave, dBFS, in files of `rosecd prepare mix`; without effect
        in training, which divides each example by max |y|.
      noises: maximum number of simultaneous noises.
      noise_levels: relative levels of simultaneous noises, dB.
      babble: fraction of noises that are babble, 3 to 6 other utterances.
      synthetic: fraction of noises that are synthetic, as in the corpus of `rosecd prepare synthetic`.
      tilt: maximum spectral tilt of speech and of noise, dB per octave, of either sign.
      band: fraction of examples with a limited band: a low-pass at 2 to 7.5 kHz, a high-pass at 50 to 400 Hz,
        or both.
      reverb: fraction of examples in a room, if there are impulse responses.
      target: for speech in a room, the direct sound with ("early") or without ("dry") the first 50 ms of
        reflections.
      held_back: fraction of the recordings kept for validation if there is no validation split.
    """

    snr: tuple[float, float] = (-5.0, 20.0)
    without_noise: float = 0.02
    level: tuple[float, float] = (-25.0, -1.0)
    noises: int = 2
    noise_levels: tuple[float, float] = (-10.0, 0.0)
    babble: float = 0.1
    synthetic: float = 0.2
    tilt: float = 2.0
    band: float = 0.1
    reverb: float = 0.5
    target: Literal["early", "dry"] = "early"
    held_back: float = 0.05

    def __post_init__(self) -> None:
        shares = ("without_noise", "babble", "synthetic", "band", "reverb", "held_back")
        least = {"noises": 1, "tilt": 0} | dict.fromkeys(shares, 0)
        check_fields(self, "mix.", least=least, most={"noises": MOST_NOISES, "tilt": MOST_TILT})
        for name in ("snr", "level", "noise_levels"):
            lowest, highest = getattr(self, name)
            if not -MOST_DB <= lowest <= highest <= MOST_DB:
                raise ValueError(
                    f"mix.{name} is {lowest, highest}, it has to be (lowest, highest), within ±{MOST_DB} dB"
                )
        if self.level[1] > 0:
            raise ValueError(f"mix.level is {self.level}, it cannot be above 0 dB, full scale")
        for name in shares:
            if getattr(self, name) > 1:
                raise ValueError(f"mix.{name} is {getattr(self, name)}, it has to be a share, from 0 to 1")
        if self.held_back == 1:
            raise ValueError("mix.held_back is 1, it has to be below 1: nothing would be left for training")
        if self.babble + self.synthetic > 1:
            raise ValueError(f"mix.babble + mix.synthetic is {self.babble + self.synthetic}, more than 1")


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of one channel of a file; `start` and `samples` at the file's rate, `at` at the example's."""

    path: str
    channel: int
    start: int
    samples: int
    at: int = 0  # start in the example
    gain_db: float = 0.0


@dataclasses.dataclass(frozen=True)
class NoiseDraw:
    """One noise; `kind` is "recording", "babble" or the name of a synthetic noise."""

    kind: str
    pieces: tuple[Piece, ...]
    seed: int  # of a synthetic noise, and of the start of a short recording
    gain_db: float


@dataclasses.dataclass(frozen=True)
class Draw:
    """All random values of an example.

    Attributes:
      sample_rate, samples: Hz and length of the example.
      speech: consecutive utterances.
      noises: simultaneous noises; empty: clean speech.
      snr_db: infinite without noises.
      speech_tilt, noise_tilt: dB per octave.
      low, high: limits of the band of speech and noise, in Hz; 0: no limit.
      response: the impulse response of a room, or None.
      early_samples: samples after the direct sound whose reflections belong to the target.
      level_db: peak of the louder of mix and clean wave, dBFS.
    """

    sample_rate: int
    samples: int
    speech: tuple[Piece, ...]
    noises: tuple[NoiseDraw, ...]
    snr_db: float
    speech_tilt: float = 0.0
    noise_tilt: float = 0.0
    low: float = 0.0
    high: float = 0.0
    response: Piece | None = None
    early_samples: int = 0
    level_db: float = -1.0


class SilentError(ValueError):
    """Error for a draw whose speech or noise is silent."""


@dataclasses.dataclass(frozen=True)
class Mixer:
    """Libraries of recordings, and the distributions of their mixes.

    Attributes:
      noise: None for babble and synthetic noise only.
      responses: None for no rooms.
    """

    speech: Library
    noise: Library | None
    responses: Library | None
    config: MixConfig
    sample_rate: int  # Hz, of the examples

    @property
    def libraries(self) -> list[Library]:
        """The libraries that are not None."""
        return [library for library in (self.speech, self.noise, self.responses) if library is not None]

    @property
    def names(self) -> list[str]:
        """Paths of all files."""
        return [name for library in self.libraries for name in library.names]

    def part(self, held_back: bool) -> "Mixer":
        """Return a mixer of the recordings held back from training, or of the others; rooms are shared."""
        speech = self.speech.part(held_back, self.config.held_back)
        noise = self.noise and self.noise.part(held_back, self.config.held_back)
        return dataclasses.replace(self, speech=speech, noise=noise)

    def pairs(self, seed: int, samples: int) -> "MixedPairs":
        """Return random access to examples of `samples` samples."""
        return MixedPairs(self, seed, samples)

    def draw(self, generator: np.random.Generator, samples: int) -> Draw:
        """Draw an example of `samples` samples."""
        config = self.config
        quiet = generator.random() < config.without_noise
        speech = self._speech(generator, samples)
        count = 0 if quiet else int(generator.integers(1, config.noises + 1))
        found = tuple(self._noise(generator, samples) for _ in range(count))
        tilts = generator.uniform(-config.tilt, config.tilt, 2)
        low, high = _band(generator) if generator.random() < config.band else (0.0, 0.0)
        response = None
        if self.responses is not None and generator.random() < config.reverb:
            recording = self.responses.recordings[generator.integers(len(self.responses.recordings))]
            response = Piece(recording.path, _channel(generator, recording), 0, recording.samples)
        return Draw(
            self.sample_rate,
            samples,
            speech,
            found,
            snr_db=math.inf if quiet else float(generator.uniform(*config.snr)),
            speech_tilt=float(tilts[0]),
            noise_tilt=float(tilts[1]),
            low=low,
            high=high,
            response=response,
            early_samples=round(0.05 * self.sample_rate) if config.target == "early" else 0,
            level_db=float(generator.uniform(*config.level)),
        )

    @cached_property
    def _odds(self) -> NDArray[np.float64]:
        """Cumulative probabilities of the recordings of speech."""
        weights = np.cumsum([min(recording.seconds, LONGEST) for recording in self.speech.recordings])
        return weights / weights[-1]

    def _utterance(self, generator: np.random.Generator) -> Recording:
        return self.speech.recordings[int(np.searchsorted(self._odds, generator.random(), side="right"))]

    def _speech(self, generator: np.random.Generator, samples: int) -> tuple[Piece, ...]:
        """Draw utterances until the example is full; one example in five begins with a pause."""
        rate, pieces = self.sample_rate, []
        at = int(generator.integers(samples // 2 + 1)) if generator.random() < 0.2 else 0
        while at < samples and len(pieces) < MOST_PIECES:
            utterance = self._utterance(generator)
            piece = _piece(generator, utterance, samples - at, rate)
            pieces.append(dataclasses.replace(piece, at=at, gain_db=float(generator.normal(0, 2))))
            seconds = piece.samples / utterance.sample_rate + generator.uniform(*PAUSE)
            at += round(rate * seconds)
        return tuple(pieces)

    def _noise(self, generator: np.random.Generator, samples: int) -> NoiseDraw:
        config, chance = self.config, generator.random()
        seed, gain_db = int(generator.integers(2**32)), float(generator.uniform(*config.noise_levels))
        if chance < config.babble:
            talkers = [self._utterance(generator) for _ in range(int(generator.integers(3, 7)))]
            pieces = [_piece(generator, talker, samples, self.sample_rate) for talker in talkers]
            return NoiseDraw("babble", tuple(pieces), seed, gain_db)
        if chance < config.babble + config.synthetic or self.noise is None:
            return NoiseDraw(str(generator.choice(list(noises.GENERATORS))), (), seed, gain_db)
        recording = self.noise.recordings[generator.integers(len(self.noise.recordings))]
        piece = _piece(generator, recording, samples, self.sample_rate)
        return NoiseDraw("recording", (piece,), seed, gain_db)


@dataclasses.dataclass(frozen=True)
class MixedPairs:
    """Random access to examples, a grain source: index -> {"clean", "noisy"}, float32 [samples]."""

    mixer: Mixer
    seed: int
    samples: int

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: Any) -> dict[str, NDArray[np.float32]]:
        return self.example(int(index))[1]

    def example(self, index: int) -> tuple[Draw, dict[str, NDArray[np.float32]]]:
        """Return an example and its draw.

        Another draw is made if a part of a recording is silent or can't be decoded; if it can't be decoded, a
        warning names the file.

        Raises:
          DataError: if `ATTEMPTS` draws fail.
        """
        problem: Exception = ValueError("nothing was drawn")
        for attempt in range(ATTEMPTS):
            generator = np.random.default_rng(np.random.SeedSequence([self.seed, index, attempt]))
            draw = self.mixer.draw(generator, self.samples)
            try:
                return draw, render(draw)
            except SilentError as error:
                problem = error
            except AudioError as error:
                problem = error
                warnings.warn(f"left out: {error}", stacklevel=2)
        raise DataError(f"{ATTEMPTS} draws in a row failed; the last: {problem}") from problem


def open_mixer(speech: str, noise: str, responses: str, config: MixConfig, sample_rate: int) -> Mixer:
    """Open and check the libraries of a mixer; folders as in `open_library`, "" for none.

    Raises:
      DataError: if a folder is missing or holds no usable file, a file is in two libraries, or synthetic
        noise is excluded and there is no other.
    """
    if not noise and config.synthetic == 0 and config.babble < 1 and config.without_noise < 1:
        raise DataError(
            "no noise: mix.synthetic is 0 and no folder is given; --config.data.noise=FOLDER, mix.synthetic "
            "above 0, or mix.babble=1 for babble only"
        )
    libraries = [
        open_library(speech),
        open_library(noise) if noise else None,
        open_library(responses, LEAST_RESPONSE) if responses else None,
    ]
    check_apart(*filter(None, libraries))
    return Mixer(*libraries, config, sample_rate)  # type: ignore[arg-type]


def render(draw: Draw) -> dict[str, NDArray[np.float32]]:
    """Make the waves of a draw, {"clean", "noisy"}, float32 [samples]; deterministic.

    Raises:
      SilentError: if speech or noise is silent.
      AudioError: if a file can't be read.
    """
    rate = draw.sample_rate
    speech = np.zeros(draw.samples)
    for piece in draw.speech:
        wave = _read(piece, rate)[: draw.samples - piece.at]
        speech[piece.at : piece.at + wave.size] += 10 ** (piece.gain_db / 20) * wave
    if draw.speech_tilt:
        speech = tilt(speech, draw.speech_tilt, rate)
    clean = heard = speech
    if draw.response:
        room = _level(_part(draw.response, rate), draw.response.path)
        clean, heard = reverberate(speech, room, draw.early_samples)
    noise = np.zeros(draw.samples)
    for one in draw.noises:
        noise += 10 ** (one.gain_db / 20) * _noise_wave(one, draw)
    if draw.noise_tilt and draw.noises:
        noise = tilt(noise, draw.noise_tilt, rate)
    if draw.low or draw.high:
        clean, heard, noise = (limit_band(wave, draw.low, draw.high, rate) for wave in (clean, heard, noise))
    noisy = heard
    if draw.noises:
        try:
            noisy = heard + noise_gain(heard, noise, draw.snr_db) * noise
        except ValueError as error:
            raise SilentError(str(error)) from error
    scale = 10 ** (draw.level_db / 20) / max(np.abs(noisy).max(), np.abs(clean).max())
    return {"clean": (scale * clean).astype(np.float32), "noisy": (scale * noisy).astype(np.float32)}


def _noise_wave(noise: NoiseDraw, draw: Draw) -> NDArray[np.float64]:
    """Make a noise, [samples], with an RMS of one."""
    generator = np.random.default_rng(noise.seed)
    if noise.kind in noises.GENERATORS:
        return noises.GENERATORS[noise.kind](generator, draw.samples, draw.sample_rate)
    waves = [_read(piece, draw.sample_rate) for piece in noise.pieces]
    if noise.kind == "babble":
        return noises.babble(generator, draw.samples, waves)
    return _level(fit_length(waves[0], draw.samples, generator), noise.pieces[0].path)


def _read(piece: Piece, sample_rate: int) -> NDArray[np.float64]:
    """Read a piece of speech or noise, [samples], without a constant offset, with an RMS of one."""
    wave = _part(piece, sample_rate)
    return _level(wave - measure(wave[None], sample_rate).offset, piece.path)


def _part(piece: Piece, sample_rate: int) -> NDArray[np.float32]:
    return read_part(piece.path, piece.channel, piece.start, piece.samples, sample_rate)


def _level(wave: NDArray[np.floating], path: str) -> NDArray[np.float64]:
    wave = np.asarray(wave, np.float64)
    level = np.sqrt(np.mean(np.square(wave)))
    if level < 1e-5:
        raise SilentError(f"{path}: the part that was drawn is silent")
    return wave / level


def _piece(generator: np.random.Generator, recording: Recording, samples: int, sample_rate: int) -> Piece:
    """Draw a part of a recording that has at most `samples` samples at `sample_rate`."""
    size = math.ceil(samples * recording.sample_rate / sample_rate)
    start = int(generator.integers(max(0, recording.samples - size) + 1))
    channel = _channel(generator, recording)
    return Piece(recording.path, channel, start, min(size, recording.samples))


def _channel(generator: np.random.Generator, recording: Recording) -> int:
    return int(generator.integers(recording.channels))


def _band(generator: np.random.Generator) -> tuple[float, float]:
    """Draw the (low, high) limits of a band in Hz, 0 for no limit: low, high or both."""
    which = generator.integers(3)
    low, high = np.exp(generator.uniform(np.log([50, 2000]), np.log([400, 7500])))
    return (float(low) if which != 1 else 0.0), (float(high) if which != 0 else 0.0)
