"""Estimates of a system: enhanced now, kept from an earlier run, or read from a folder."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rosecd_jax.atomic import write_text
from rosecd_jax.audio import io
from rosecd_jax.evaluation.cache import content_key
from rosecd_jax.evaluation.pairing import counterpart
from rosecd_jax.evaluation.scoring import Estimate
from rosecd_jax.inference.enhancer import Enhancer


def settings(enhancer: Enhancer) -> dict[str, Any]:
    """Return a model's sampler settings for a results file."""
    sampler = enhancer.sampler
    found: dict[str, Any] = {"sampler": sampler.sampler, "steps": sampler.steps}
    if sampler.sampler == "pc":
        found |= {"corrector": sampler.corrector, "snr": sampler.snr}
    if enhancer.strength < 1 or enhancer.attenuation_limit is not None:
        found |= {"strength": enhancer.strength, "attenuation_limit": enhancer.attenuation_limit}
    return found


RECORD = "enhanced.json"


class Kept:
    """Files that a model has enhanced into a folder, with a record of their inputs.

    The record is enhanced.json in the folder: digests of the model with its settings, of every noisy wave and
    its estimate, and the seconds of enhancement. A file is reused if all of these are unchanged.
    """

    def __init__(self, folder: Path, enhancer: Enhancer, seed: int) -> None:
        self.folder = folder
        self.record_path = folder / RECORD
        self.model = _fingerprint(enhancer, seed)
        self.files: dict[str, dict[str, Any]] = {}
        try:
            record = json.loads(self.record_path.read_text())
            if record["model"] == self.model:
                self.files = dict(record["files"])
        except (OSError, ValueError, TypeError, KeyError):
            pass  # no valid record: everything is enhanced
        self.write()  # marks the folder as an evaluation's

    @staticmethod
    def file(name: Path) -> str:
        """Return the enhanced file of a clean one, relative to the folder."""
        return name.with_suffix(".wav").as_posix()

    def get(self, name: Path, noisy: io.Audio) -> Estimate | None:
        """Return an earlier run's estimate if it was made from this wave and is unchanged, else None."""
        entry = self.files.get(str(name))
        try:
            if not entry or entry["noisy"] != content_key([], [noisy.wave]):
                return None
            stored = io.read(self.folder / self.file(name))
            if entry["enhanced"] != content_key([], [stored.wave]):
                return None
            computing = float(entry["computing"])
            return Estimate(name, stored.wave, stored.sample_rate, computing, file=self.file(name))
        except (ValueError, OSError, TypeError, KeyError):
            return None

    def put(self, noisy: io.Audio, estimate: Estimate) -> None:
        """Write an estimate and record it."""
        assert estimate.wave is not None
        io.write(self.folder / self.file(estimate.name), estimate.wave, estimate.sample_rate, subtype="FLOAT")
        digests = {"noisy": content_key([], [noisy.wave]), "enhanced": content_key([], [estimate.wave])}
        self.files[str(estimate.name)] = {**digests, "computing": estimate.computing}

    def write(self) -> None:
        """Write the record."""
        text = json.dumps({"model": self.model, "files": self.files}, indent=1)
        write_text(self.record_path, text + "\n")


def _fingerprint(enhancer: Enhancer, seed: int) -> str:
    """Compute a digest of a model's weights and of all settings that affect its output."""
    model, names = enhancer.model, ("buckets", "limit", "batch_frames", "strength", "attenuation_limit")
    options = [repr(getattr(enhancer, name)) for name in names]
    words = [repr(model.config), repr(enhancer.sampler), *options, str(seed)]
    leaves, structure = jax.tree.flatten(enhancer.params)
    return content_key([*words, str(structure), jax.default_backend()], map(np.asarray, leaves))


def estimates(
    noisy: Path, names: Sequence[Path], system: Enhancer | Path | None, seed: int, folder: Path | None
) -> Iterator[Estimate]:
    """Yield the estimate of each file, or the error.

    Args:
      noisy: folder of the noisy files.
      names: paths of the files, relative to the clean folder.
      system: a model, a folder of enhanced files, or None for the noisy input.
      seed: seed of the model's sampler.
      folder: where a model's files are kept and reused.
    """
    kept = Kept(folder, system, seed) if folder and isinstance(system, Enhancer) else None
    try:
        for name in names:
            try:
                if isinstance(system, Enhancer):
                    yield _enhanced(system, name, io.read(counterpart(noisy, name)), seed, kept)
                else:
                    path = counterpart(system or noisy, name)
                    audio = _read(path) if system else io.read(path)
                    file = path.relative_to(system or noisy).as_posix()
                    yield Estimate(name, audio.wave, audio.sample_rate, math.nan, file=file)
            except ValueError as error:
                yield Estimate(name, None, 0, math.nan, str(error))
    finally:
        if kept:
            kept.write()


def _enhanced(enhancer: Enhancer, name: Path, noisy: io.Audio, seed: int, kept: Kept | None) -> Estimate:
    """Enhance a file and time it, or reuse an earlier run's estimate."""
    if kept and (before := kept.get(name, noisy)):
        return before
    enhancer.prepare(noisy.wave.shape[-1], noisy.sample_rate, len(noisy.wave))
    start = time.perf_counter()
    wave = enhancer(noisy.wave, noisy.sample_rate, seed=seed)
    computing = time.perf_counter() - start
    estimate = Estimate(name, wave, noisy.sample_rate, computing, file=Kept.file(name))
    if kept:
        kept.put(noisy, estimate)
    return estimate


def _read(path: Path) -> io.Audio:
    """Read an enhanced file; if a sample is not finite, return all NaN, which gets the worst scores."""
    try:
        return io.read(path)
    except io.NotFiniteError:
        header = io.info(path)
        wave = np.full((header.channels, header.samples), np.nan, np.float32)
        return io.Audio(wave, header.sample_rate, header.subtype, header.format)
