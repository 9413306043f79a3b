"""Recordings of a report: choice, sounds and spectrograms, within a limit of bytes."""

import base64
import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.evaluation.results import RESULTS
from rosecd_jax.evaluation.spectrogram import decibels, picture

__all__ = ["EXCERPT_SECONDS", "Pick", "Recording", "Sound", "choose", "prepare"]

EXCERPT_SECONDS = 12.0
"""Longer recordings are cut to this length."""


@dataclasses.dataclass(frozen=True)
class Pick:
    """A file to be played, by its index in the results, with the reasons."""

    index: int
    reasons: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Sound:
    """One signal of a recording.

    Attributes:
      system: name; None for the clean recording.
      fingerprint: digest of the whole wave, to recognize it in ratings.
      flac: base64, or "" without sound.
      png: spectrogram, base64, or "".
      error: reason for a missing sound.
      changed: whether the file is newer than results.json.
    """

    system: str | None
    fingerprint: str = ""
    flac: str = ""
    png: str = ""
    error: str = ""
    changed: bool = False


@dataclasses.dataclass(frozen=True)
class Recording:
    """A file with its sounds: those of the systems in order, then the clean one.

    Attributes:
      sample_rate: Hz.
      seconds: length played.
      whole_seconds: length of the recording.
      turned_down_db: attenuation of all sounds to avoid clipping.
    """

    pick: Pick
    sounds: tuple[Sound, ...]
    sample_rate: int
    seconds: float
    whole_seconds: float
    turned_down_db: float

    @property
    def size(self) -> int:
        """Bytes in the report."""
        return sum(len(sound.flac) + len(sound.png) for sound in self.sounds)


def choose(results: Mapping[str, Any], measure: Mapping[str, Any], play: Sequence[str] = ()) -> list[Pick]:
    """Choose the files to be played.

    Args:
      results: content of an evaluation's results.json.
      measure: the entry of `results["measures"]` that ranks files.
      play: files to be played instead.

    Raises:
      ValueError: if a file of `play` isn't in the evaluation.
    """
    files = [entry["file"] for entry in results["files"]]
    if unknown := [name for name in play if name not in files]:
        raise ValueError(f"no file {unknown[0]} in this evaluation; give names as in its per-file table")
    if play:
        return [Pick(files.index(name), ("requested",)) for name in dict.fromkeys(play)]
    reasons: dict[int, list[str]] = {}
    for index, reason in _reasons(results, measure):
        reasons.setdefault(index, []).append(reason)
    return [Pick(index, tuple(words)) for index, words in reasons.items()]


def _reasons(results: Mapping[str, Any], measure: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield files and the reasons to show them, the most important of every system first."""
    name, sign = measure["name"], -1 if measure["better"] == "lower" else 1
    noisy = next((system["name"] for system in results["systems"] if system["kind"] == "noisy"), None)
    systems = [system["name"] for system in results["systems"] if system["kind"] != "noisy"] or [noisy]
    ranked = {system: _ranked(results, system, name, sign) for system in systems}
    for kind, place in (("harmed", 0), ("worst", 0), ("best", -1), ("median", None)):
        for system, ranking in ranked.items():
            if kind == "harmed":
                ranking = [entry for entry in _gains(results, system, noisy, name, sign) if entry[0] < 0]
            if not ranking:
                continue
            _, index = ranking[len(ranking) // 2 if place is None else place]
            words = "most degraded" if kind == "harmed" else kind
            yield (
                index,
                f"{words} {measure['title']} of {system}" if kind != "harmed" else f"{words} by {system}",
            )


def _score(entry: Mapping[str, Any], system: str | None, measure: str) -> float | None:
    return entry["systems"].get(system, {}).get("scores", {}).get(measure)


def _ranked(results: Mapping[str, Any], system: str, measure: str, sign: int) -> list[tuple[float, int]]:
    """Return (score, index of the file), worst first."""
    scores = ((_score(entry, system, measure), i) for i, entry in enumerate(results["files"]))
    return sorted((sign * score, i) for score, i in scores if score is not None)


def _gains(
    results: Mapping[str, Any], system: str, noisy: str | None, measure: str, sign: int
) -> list[tuple[float, int]]:
    """Return (gain over the noisy input, index of the file), lowest first."""
    found = []
    for i, entry in enumerate(results["files"]):
        score, before = _score(entry, system, measure), _score(entry, noisy, measure)
        if system != noisy and score is not None and before is not None:
            found.append((sign * (score - before), i))
    return sorted(found)


def prepare(
    results: Mapping[str, Any], directory: Path, picks: Sequence[Pick], most_bytes: int
) -> tuple[list[Recording], list[str]]:
    """Read, encode and draw the chosen files in order, as far as they fit.

    Returns:
      The recordings, and messages about omitted ones.
    """
    recordings, missing, too_large, room = [], [], [], most_bytes
    if not Path(results["clean"]).is_dir():
        remedy = "write the report where the evaluation ran, or copy the data"
        return [], [f"Nothing can be played: there is no folder {results['clean']}; {remedy}."]
    with tempfile.TemporaryDirectory() as folder:
        for pick in picks:
            name = results["files"][pick.index]["file"]
            try:
                recording = _recording(results, directory, pick, Path(folder) / "sound.flac")
            except ValueError as error:
                missing.append(f"{name} cannot be played: {error}")
                continue
            if recording.size > room:
                too_large.append(name)
                continue
            room -= recording.size
            recordings.append(recording)
    if too_large:
        missing.append(f"omitted to keep this file small: {', '.join(too_large)}")
    return recordings, missing


def _recording(results: Mapping[str, Any], directory: Path, pick: Pick, scratch: Path) -> Recording:
    """Prepare a recording; ValueError if the clean file, or every system's, can't be read."""
    entry = results["files"][pick.index]
    paths: dict[str | None, Path] = {None: Path(results["clean"]) / entry["clean"]}
    clean = io.read(paths[None])
    length = clean.wave.shape[1]
    kept = min(length, round(EXCERPT_SECONDS * clean.sample_rate))
    waves: dict[str | None, np.ndarray] = {}
    errors: dict[str | None, str] = {}
    prints: dict[str | None, str] = {}
    for system in results["systems"]:
        name = system["name"]
        try:
            paths[name] = wave_path(results, directory, system, entry)
            audio = io.read(paths[name])
            if audio.sample_rate != clean.sample_rate:
                raise ValueError(f"{audio.sample_rate} Hz, the clean file has {clean.sample_rate} Hz")
            waves[name], prints[name] = _cut(audio.wave, kept), fingerprint(audio.wave)
        except ValueError as error:
            errors[name] = str(error)
    if not waves:
        raise ValueError("; ".join(errors.values()))
    waves[None], prints[None] = _cut(clean.wave, kept), fingerprint(clean.wave)
    peak = max(float(np.abs(wave).max()) for wave in waves.values())
    scale = min(1.0, (1 - 2**-15) / peak) if peak else 1.0
    levels = {name: decibels(wave.mean(axis=0), clean.sample_rate) for name, wave in waves.items()}
    loudest = max(float(level.max()) for level in levels.values())
    scored, sounds = (directory / RESULTS).stat().st_mtime, []
    for name in (*(system["name"] for system in results["systems"]), None):
        if name in errors:
            sounds.append(Sound(name, error=errors[name]))
            continue
        io.write(scratch, scale * waves[name], clean.sample_rate, subtype="PCM_16")
        flac, image = scratch.read_bytes(), picture(levels[name], loudest)
        changed = paths[name].stat().st_mtime > scored
        sounds.append(Sound(name, prints[name], _base64(flac), _base64(image), changed=changed))
    seconds = kept / clean.sample_rate
    turned_down = -20 * float(np.log10(scale))
    return Recording(pick, tuple(sounds), clean.sample_rate, seconds, length / clean.sample_rate, turned_down)


def wave_path(
    results: Mapping[str, Any], directory: Path, system: Mapping[str, Any], entry: Mapping[str, Any]
) -> Path:
    """Return the path of a system's wave for a file.

    Raises:
      ValueError: if the system has none.
    """
    if system["kind"] == "noisy":
        return Path(results["noisy"]) / entry["noisy"]
    own = entry["systems"].get(system["name"], {})
    if not own.get("file"):
        raise ValueError(own.get("error") or "the evaluation kept no enhanced file")
    below = directory if system["kind"] == "checkpoint" else Path()
    return below / system["files"] / own["file"]


def _cut(wave: np.ndarray, length: int) -> np.ndarray:
    """Return at most two channels, cut or padded to a length, so that all sounds can be looped together."""
    wave = wave[:2, :length]
    return np.pad(wave, ((0, 0), (0, length - wave.shape[1])))


def fingerprint(wave: np.ndarray) -> str:
    """Return twelve characters that identify a wave."""
    return hashlib.sha256(np.ascontiguousarray(wave, "<f4").tobytes()).hexdigest()[:12]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
