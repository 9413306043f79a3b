"""The embedded corpus: espeak-ng speech in synthetic noise, as folders of WAV files, without downloads.

The draws for a file depend only on (seed, split, index): a longer corpus begins with the shorter one. Equal
configs give equal bytes, for equal versions of numpy, soxr and espeakng-loader and equal kinds of CPU.
"""

import csv
import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosecd_jax.atomic import write_text
from rosecd_jax.audio import io
from rosecd_jax.audio.mixing import mix_at_snr
from rosecd_jax.config import check_fields
from rosecd_jax.data.corpus import espeak, noises
from rosecd_jax.data.corpus.words import sentence
from rosecd_jax.data.pairs import SplitSummary

__all__ = ["SPLITS", "Example", "SplitSummary", "SyntheticCorpus", "make_example", "voices", "write_corpus"]

SPLITS = ("train", "valid", "test")
MOST_SNR = 100  # dB; beyond ±MOST_SNR, speech or noise is lost to float32 rounding

ACCENTS = ("en", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-us")

# Variants are the speakers, so no two splits share one. Robot and whisper variants are excluded.
VARIANTS = {
    "train": (
        "m1", "m2", "m3", "m5", "m6", "Alex", "Mario", "Michael", "boris", "klatt", "marcelo", "max",
        "quincy", "f1", "f2", "f4", "Andrea", "Annie", "belinda", "linda", "rob", "shelby",
    ),
    "valid": ("m8", "adam", "aunty", "grandma"),
    "test": ("m4", "m7", "robert", "f3", "f5", "steph"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SyntheticCorpus:
    """Config of a synthetic corpus."""

    hours: float = 0.5  # minimum length of the train split
    seed: int = 0
    sample_rate: int = 16000  # Hz
    train_snrs: tuple[float, ...] = (0, 5, 10, 15)  # dB; for the valid split, too
    test_snrs: tuple[float, ...] = (2.5, 7.5, 12.5, 17.5)  # dB
    utterance_seconds: tuple[float, float] = (2.0, 4.0)  # shortest and longest file
    valid_files: int = 0  # 0: one per minute of the train split, at least 8
    test_files: int = 0  # likewise

    def __post_init__(self) -> None:
        least = {"seed": 0, "valid_files": 0, "test_files": 0, "sample_rate": 8000, "utterance_seconds": 0.5}
        check_fields(self, least=least, above={"hours": 0})
        shortest, longest = self.utterance_seconds
        if shortest > longest:
            raise ValueError(f"utterance_seconds has to be (shortest, longest), got {shortest, longest}")
        for name in ("train_snrs", "test_snrs"):
            snrs = getattr(self, name)
            if not snrs or max(map(abs, snrs)) > MOST_SNR:
                raise ValueError(
                    f"{name} is {snrs}, it has to be one or more numbers from -{MOST_SNR} to {MOST_SNR} dB"
                )
        for field in ("valid_files", "test_files"):
            object.__setattr__(self, field, getattr(self, field) or max(8, round(60 * self.hours)))


@dataclasses.dataclass(frozen=True)
class Example:
    """One pair of the corpus, and its draws."""

    clean: NDArray[np.float32]  # [samples]
    noisy: NDArray[np.float32]  # [samples]
    voice: str
    noise: str
    snr_db: float
    text: str


def voices(split: str) -> tuple[str, ...]:
    """List the espeak-ng voices of a split, as accent+variant; no two splits share a voice or variant."""
    return tuple(f"{accent}+{variant}" for accent in ACCENTS for variant in VARIANTS[split])


def make_example(config: SyntheticCorpus, split: str, index: int) -> Example:
    """Make one pair of the corpus; it doesn't depend on the corpus's hours and numbers of files.

    Raises ImportError if espeakng-loader is missing, ValueError if the split is not one of `SPLITS`.
    """
    generator = np.random.default_rng(np.random.SeedSequence([config.seed, SPLITS.index(split), index]))
    voice = str(generator.choice(voices(split)))
    text, speech = _utterance(generator, voice, config)
    kinds = [*noises.GENERATORS, "babble"]
    snrs = config.test_snrs if split == "test" else config.train_snrs
    if split == "train":
        kind, snr_db = str(generator.choice(kinds)), float(generator.choice(snrs))
    else:  # balanced for evaluation: every kind in turn, each time at another SNR
        kind, snr_db = kinds[index % len(kinds)], float(snrs[(index - index // len(kinds)) % len(snrs)])
    if kind == "babble":
        others = generator.choice([other for other in voices(split) if other != voice], 6, replace=False)
        talkers = [_speak(generator, other, config)[1] for other in others[: generator.integers(3, 7)]]
        noise = noises.babble(generator, speech.size, talkers)
    else:
        noise = noises.GENERATORS[kind](generator, speech.size, config.sample_rate)
    clean, noisy = mix_at_snr(speech, noise, snr_db)
    return Example(clean, noisy, voice, kind, snr_db, text)


def write_corpus(
    directory: str | os.PathLike[str],
    config: SyntheticCorpus,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, SplitSummary]:
    """Write `train|valid|test/{clean,noisy}/*.wav`, PCM_16 mono; the files of a pair share their name.

    `files.csv` describes each file, and `corpus.json`, written last, marks the corpus as complete. A complete
    corpus with the same config is kept, an incomplete one is overwritten.

    Args:
      progress: called after each file with the split and the fraction of it that is done, 0 to 1.

    Returns:
      A summary of each split.

    Raises:
      FileExistsError: if the directory holds another corpus.
      ImportError: if espeakng-loader is not installed.
      audio.io.AudioError: if a file cannot be written.
    """
    directory = Path(directory)
    described = json.loads(json.dumps(dataclasses.asdict(config)))  # tuples become lists, as in the file
    marker = directory / "corpus.json"
    if marker.exists():
        found, summaries = _read_marker(marker)
        if found == described:
            return summaries
        raise FileExistsError(
            f"{directory} already holds a corpus with another config, {found}; choose another directory, or "
            "remove it"
        )
    _clear(directory)

    wanted = {"valid": config.valid_files, "test": config.test_files}
    rows: list[tuple[str, str, str, float, str]] = []
    summaries: dict[str, SplitSummary] = {}
    for split in SPLITS:
        files, seconds, done = 0, 0.0, 0.0
        while done < 1:
            example = make_example(config, split, files)
            name = f"{split}_{files:05d}.wav"
            for kind, wave in (("clean", example.clean), ("noisy", example.noisy)):
                io.write(directory / split / kind / name, wave, config.sample_rate, subtype="PCM_16")
            rows.append((f"{split}/{name}", example.voice, example.noise, example.snr_db, example.text))
            files, seconds = files + 1, seconds + example.clean.size / config.sample_rate
            done = files / wanted[split] if split in wanted else seconds / (3600 * config.hours)
            if progress:
                progress(split, min(1.0, done))
        summaries[split] = SplitSummary(files, seconds)

    with open(directory / "files.csv", "w", newline="") as table:
        csv.writer(table).writerows([("file", "voice", "noise", "snr_db", "text"), *rows])
    splits = {split: dataclasses.asdict(summary) for split, summary in summaries.items()}
    write_text(marker, json.dumps({"config": described, "splits": splits}, indent=2) + "\n")
    return summaries


def _read_marker(marker: Path) -> tuple[Any, dict[str, SplitSummary]]:
    """Read the config of a complete corpus, as plain JSON values, and summaries of its splits."""
    try:
        found = json.loads(marker.read_text())
        splits = {split: SplitSummary(**summary) for split, summary in found["splits"].items()}
        return found["config"], splits
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileExistsError(
            f"{marker}: does not describe a corpus ({error}); choose another directory, or remove it"
        ) from error


def _clear(directory: Path) -> None:
    """Remove files of an incomplete earlier run, which may have had more; refuse other files."""
    files = [path for split in SPLITS for path in directory.glob(f"{split}/*/[!.]*")]
    for path in files:
        if not re.fullmatch(r"(train|valid|test)_\d{5,}\.wav", path.name):
            raise FileExistsError(
                f"{directory} already holds another corpus, with files such as {path}; choose another "
                "directory"
            )
    for path in files:
        path.unlink()


def _utterance(
    generator: np.random.Generator, voice: str, config: SyntheticCorpus
) -> tuple[str, NDArray[np.float64]]:
    """Fill one file with sentences, surrounded by silence; cut only if a single sentence is too long."""
    shortest, longest = (round(seconds * config.sample_rate) for seconds in config.utterance_seconds)
    text, speech = _speak(generator, voice, config)
    while speech.size < shortest:
        more_text, more = _speak(generator, voice, config)
        pause = np.zeros(round(generator.uniform(0.1, 0.4) * config.sample_rate))
        if speech.size + pause.size + more.size > longest:
            break
        text, speech = f"{text} {more_text}", np.concatenate([speech, pause, more])
    speech = speech[:longest]
    level = 10 ** (generator.uniform(-18, -3) / 20)  # peak, 18 to 3 dB below full scale
    samples = max(shortest, min(longest, speech.size + round(generator.uniform(0, 0.6) * config.sample_rate)))
    before = generator.integers(samples - speech.size + 1)
    wave = np.zeros(samples)
    wave[before : before + speech.size] = level / np.abs(speech).max() * speech
    return text, wave


def _speak(
    generator: np.random.Generator, voice: str, config: SyntheticCorpus
) -> tuple[str, NDArray[np.floating]]:
    text = sentence(generator)
    pitch, pitch_range = int(generator.integers(35, 66)), int(generator.integers(30, 71))
    wave = espeak.speak(text, voice, pitch, pitch_range, rate=int(generator.integers(150, 211)))
    return text, io.resample(wave, espeak.SAMPLE_RATE, config.sample_rate)
