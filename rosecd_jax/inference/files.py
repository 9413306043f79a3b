"""One audio file into another, whole or, if it is long, in blocks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.audio.level import LevelMeter
from rosecd_jax.inference.strength import blend
from rosecd_jax.inference.waves import WaveEnhancer


class Written(NamedTuple):
    """A file that was written: its length in seconds, and how many samples were clipped to full scale."""

    seconds: float
    clipped: int


class Stopped(Exception):
    """A file was given up because the caller wants to stop."""


def enhance_file(waves: WaveEnhancer, source: Path, target: Path, seed: int, subtype: str | None) -> Written:
    """See `Enhancer.enhance_file`."""
    if same_file(source, target):
        raise io.AudioError(f"{target}: is the input itself; choose another output")
    header = io.info(source)
    refuse_misfit(target, header, subtype)
    if is_long(waves, header):
        return enhance_long_file(waves, source, target, seed, subtype)
    return _enhance_short_file(waves, source, target, seed, subtype)


def _enhance_short_file(
    waves: WaveEnhancer, source: Path, target: Path, seed: int, subtype: str | None
) -> Written:
    audio = io.read(source)
    rate = waves.programs.model.front_end.sample_rate
    enhanced = waves(io.resample(audio.wave, audio.sample_rate, rate), seed)
    return write_like(audio, target, enhanced, waves, subtype)


def write_like(
    audio: io.Audio, target: Path, enhanced: np.ndarray, waves: WaveEnhancer, subtype: str | None
) -> Written:
    """Write what was enhanced at the model's rate as the source is."""
    samples, rate = audio.wave.shape[1], waves.programs.model.front_end.sample_rate
    wave = io.resample(enhanced, rate, audio.sample_rate, samples=samples)
    wave = blend(wave, audio.wave, waves.wet)
    subtype = fitting_subtype(target, audio, subtype)
    clipped = io.write(target, wave, audio.sample_rate, subtype, bit_rate=audio.bit_rate, tags=audio.tags)
    return Written(samples / audio.sample_rate, clipped)


def is_long(waves: WaveEnhancer, header: io.AudioInfo) -> bool:
    """Whether a file goes in windows."""
    return waves.is_long(samples_at(waves.programs.model.front_end.sample_rate, header))


def samples_at(rate: int, header: io.AudioInfo) -> int:
    """How long a file is at another rate."""
    return round(header.samples * rate / header.sample_rate)


def enhance_long_file(
    waves: WaveEnhancer,
    source: Path,
    target: Path,
    seed: int,
    subtype: str | None,
    stop: Callable[[], bool] = lambda: False,
    advance: Callable[[float], None] = lambda seconds: None,
) -> Written:
    """As `enhance_file`, in bounded memory. The file is read twice, first for its length and its level.

    `advance` takes the seconds of audio as they are written.

    Raises:
      Stopped: as soon as `stop` returns True; no partial file stays.
    """
    header, rate = io.info(source), waves.programs.model.front_end.sample_rate
    source_samples = samples = clipped = 0
    meter = LevelMeter(header.channels, rate)

    def counted():
        nonlocal source_samples
        for block in io.read_blocks(source):
            if stop():
                raise Stopped
            source_samples += block.shape[1]
            yield block

    for block in io.resample_blocks(counted(), header.sample_rate, rate):
        samples += block.shape[1]
        meter.put(block)

    if not waves.is_long(samples):  # the header promises more than there is
        written = _enhance_short_file(waves, source, target, seed, subtype)
        advance(written.seconds)
        return written
    like = {"bit_rate": header.bit_rate * header.samples / source_samples, "tags": header.tags}
    subtype = fitting_subtype(target, header, subtype)
    with io.writing(
        target, header.sample_rate, header.channels, subtype, samples=source_samples, **like
    ) as put:
        blocks = io.resample_blocks(_as_long_as(source, source_samples), header.sample_rate, rate)
        enhanced = waves.long(blocks, samples, meter.level(), seed)
        dry = _Reader(source, header.channels) if waves.wet < 1 else None
        for block in io.resample_blocks(enhanced, rate, header.sample_rate, source_samples):
            if stop():
                raise Stopped
            clipped += put(blend(block, dry.take(block.shape[1]), waves.wet) if dry else block)
            advance(block.shape[1] / header.sample_rate)
    return Written(source_samples / header.sample_rate, clipped)


class _Reader:
    """A file's samples in blocks of any size."""

    def __init__(self, source: Path, channels: int) -> None:
        self.blocks, self.rest = io.read_blocks(source), np.zeros((channels, 0), np.float32)

    def take(self, samples: int) -> np.ndarray:
        """The next samples, float32 [channels, samples]."""
        while self.rest.shape[1] < samples:
            self.rest = np.concatenate([self.rest, next(self.blocks)], axis=1)
        taken, self.rest = np.split(self.rest, [samples], axis=1)
        return taken


def _as_long_as(source: Path, samples: int) -> Iterator[np.ndarray]:
    """The blocks of a file that must hold as many samples as it did before."""
    changed = io.AudioError(f"{source}: changed while it was read; enhance it again")
    found = 0
    for block in io.read_blocks(source):
        found += block.shape[1]
        if found > samples:
            raise changed
        yield block
    if found < samples:
        raise changed


def fitting_subtype(target: Path, source: io.Audio | io.AudioInfo, wanted: str | None) -> str | None:
    """The encoding of an output: the wanted, else the source's, else one as deep, else the default."""
    if wanted is not None:
        return wanted
    same_format = io.FORMATS.get(target.suffix.lower()) == source.format
    subtype = source.subtype if same_format else source.subtype.replace("ALAC_", "PCM_")
    plain = subtype.startswith("PCM_") or subtype in ("FLOAT", "DOUBLE")
    if (same_format or plain) and io.fits(target, subtype):
        return subtype
    deep = plain and subtype not in ("PCM_S8", "PCM_U8", "PCM_16")
    return "PCM_24" if deep and io.fits(target, "PCM_24") else None


def refuse_misfit(target: Path, source: io.AudioInfo, subtype: str | None) -> None:
    """Before the work: raise AudioError if the output's encoding can't have the source's rate or channels."""
    wanted = fitting_subtype(target, source, subtype)
    io.refuse_misfit(target, source.sample_rate, source.channels, wanted)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths are the same file, by whatever names."""
    return one.exists() and other.exists() and one.samefile(other)
