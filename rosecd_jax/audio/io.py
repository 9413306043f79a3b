"""Audio files in and out, and resampling. Nothing else in the package opens an audio file.

Waves are float32 arrays whose full scale is [-1, 1]. Files go through libsndfile (package soundfile), sample
rates through libsoxr (package soxr).
"""

import contextlib
import math
import os
import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import soundfile

__all__ = [
    "Audio",
    "AudioError",
    "AudioInfo",
    "decode",
    "find",
    "info",
    "is_audio",
    "read",
    "resample",
    "write",
]

# Suffix -> libsndfile's format. Headerless and MATLAB files are left out: there a suffix says too little.
FORMATS = {".wav": "WAV", ".flac": "FLAC", ".mp3": "MP3", ".caf": "CAF", ".w64": "W64", ".rf64": "RF64"}
FORMATS |= {".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".aif": "AIFF", ".aiff": "AIFF"}
FORMATS |= {".au": "AU", ".snd": "AU", ".sph": "NIST", ".nist": "NIST"}
# libsndfile rounds down in some formats and to the nearest in others, so `write` does the rounding.
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}
UNDECLARED = 2**63 - 1  # libsndfile's length of a stream whose header says none
BLOCK = 65536  # samples written at a time: libvorbis overflows its stack on minutes at once


class AudioError(ValueError):
    """Audio that cannot be found, read or written. The message names the file and the remedy."""


class Audio(NamedTuple):
    """A file's wave, float32 [channels, samples], and what is needed to write its like."""

    wave: NDArray[np.float32]
    sample_rate: int  # Hz
    subtype: str  # sample encoding, in libsndfile's words: PCM_16, PCM_24, FLOAT, ...
    format: str  # container: WAV, FLAC, OGG, ...


class AudioInfo(NamedTuple):
    """What a file's header says."""

    sample_rate: int  # Hz
    channels: int
    samples: int  # per channel


def read(path: str | os.PathLike[str]) -> Audio:
    """Read a whole audio file of any format that libsndfile knows.

    Raises AudioError if it is missing, empty, damaged, not audio, or holds NaN or infinite samples.
    """
    return _read(_existing(path), str(path))


def decode(data: bytes, name: str) -> Audio:
    """Decode the bytes of an audio file, as of a member of an archive; `name` is how errors call it.

    Raises AudioError as `read` does.
    """
    _refuse_empty(len(data), name)
    return _read(BytesIO(data), name)


def info(path: str | os.PathLike[str]) -> AudioInfo:
    """Read a file's header only: quick, but says nothing about the samples behind it.

    Raises AudioError if the file is missing, empty or not audio, or its header declares no samples.
    """
    with _open(_existing(path), str(path)) as file:
        header = AudioInfo(file.samplerate, file.channels, file.frames)
    _refuse_empty(header.samples, str(path), "samples")
    return header


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; give an audio file")
    _refuse_empty(path.stat().st_size, str(path))
    return path


def _read(source: Path | BytesIO, name: str) -> Audio:
    with _open(source, name) as file:
        wave = np.ascontiguousarray(file.read(dtype="float32", always_2d=True).T, np.float32)
        audio = Audio(wave, file.samplerate, file.subtype, file.format)
    _refuse_empty(wave.size, name, "samples")
    if not np.isfinite(wave).all():
        raise AudioError(f"{name}: holds NaN or infinite samples; export it again from its source")
    return audio


@contextlib.contextmanager
def _open(source: Path | BytesIO, name: str) -> Iterator["soundfile.SoundFile"]:
    """A file in libsndfile's hands; whatever that can't make sense of becomes an AudioError."""
    import soundfile

    try:
        with soundfile.SoundFile(source) as file:
            if file.frames == UNDECLARED:
                raise ValueError("its header declares no length")
            yield file
    # soundfile's own errors, and what it does about headerless files and streams of undeclared length
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        reason = getattr(error, "error_string", error)
        raise AudioError(f"{name}: cannot be read as audio ({reason}); convert it to WAV") from error


def _refuse_empty(size: int, name: str, unit: str = "bytes") -> None:
    if size == 0:
        raise AudioError(f"{name}: is empty, it holds no {unit}; copy or record it again")


def write(
    path: str | os.PathLike[str],
    wave: ArrayLike,
    sample_rate: int,
    subtype: str | None = None,
    format: str | None = None,
) -> None:
    """Write a floating-point wave, [samples] or [channels, samples], completely or not at all.

    The format follows from the suffix and the subtype from the format (PCM_16 for WAV and FLAC) unless given,
    in libsndfile's words. All subtypes but FLOAT and DOUBLE clip to [-1, 1]. Missing folders are made. Raises
    AudioError, and leaves a file already there as it was, if wave or format are unfit or writing fails.
    """
    import soundfile

    path = Path(path)
    suffix = path.suffix.lower()
    format = format or FORMATS.get(suffix)
    if format is None:
        raise AudioError(f"{path}: unknown suffix {suffix!r}; use one of {' '.join(FORMATS)}")
    subtype = "OPUS" if subtype is None and suffix == ".opus" else subtype
    if not soundfile.check_format(format, subtype):
        raise AudioError(f"{path}: no such combination of format {format} and subtype {subtype}; change one")
    subtype = str(subtype or soundfile.default_subtype(format)).upper()

    samples = np.asarray(wave)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise AudioError(f"{path}: shape {samples.shape}; give [samples] or [channels, samples], not empty")
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"{path}: samples are {samples.dtype}; scale them to floats in [-1, 1]")
    samples = np.atleast_2d(samples.astype(np.float32)).T
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: the wave holds NaN or infinite samples; correct what computed it")
    channels = samples.shape[1]
    if subtype not in ("FLOAT", "DOUBLE"):
        samples = samples.clip(-1, 1)
    if subtype in BITS:
        steps = np.float32(2 ** (BITS[subtype] - 1))
        samples = np.minimum(np.round(samples * steps), steps - 1) / steps

    encoded = BytesIO()  # not a file: libsndfile says nothing when a disk fills up as it closes a file
    try:
        with soundfile.SoundFile(encoded, "w", sample_rate, channels, subtype, format=format) as file:
            for start in range(0, len(samples), BLOCK):
                file.write(samples[start : start + BLOCK])
    except soundfile.LibsndfileError as error:
        complaint = f"{format} cannot hold {channels} channel(s) at {sample_rate} Hz ({error.error_string})"
        raise AudioError(f"{path}: {complaint}; choose another format, or resample") from error
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")  # in the same folder, where os.replace is atomic
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(encoded.getbuffer())
        os.replace(temporary, path)
    except OSError as error:
        raise AudioError(f"{path}: cannot be written ({error}); choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def resample(wave: ArrayLike, rate_in: int, rate_out: int, samples: int | None = None) -> NDArray[np.float32]:
    """Resample [..., samples] from `rate_in` to `rate_out` (Hz), at soxr's best quality.

    Returns float32 of the nearest length, at least one sample, or cut or zero-padded to `samples`: how a wave
    gets its own length back after a stay at another rate. Equal rates leave the values as they are.
    """
    import soxr

    source = np.asarray(wave, np.float32)
    *leading, length = source.shape
    channels = source.reshape(math.prod(leading), length)
    if rate_in != rate_out:
        channels = soxr.resample(channels.T, rate_in, rate_out, quality="VHQ").T
    if samples is None:
        samples = max(1, (2 * length * rate_out + rate_in) // (2 * rate_in))  # halves go up, as in soxr
    result = np.zeros((len(channels), samples), np.float32)
    kept = min(samples, channels.shape[1])
    result[:, :kept] = channels[:, :kept]
    return result.reshape(*leading, samples)


def is_audio(path: PurePath) -> bool:
    """Whether a relative path ends as an audio file's, and no part of it is hidden or temporary (. or ~)."""
    return path.suffix.lower() in FORMATS and not any(part.startswith((".", "~")) for part in path.parts)


def find(path: str | os.PathLike[str]) -> list[Path]:
    """The audio files of a folder and its subfolders, sorted; or the file itself, if `path` is a file.

    Skips hidden and temporary names (a leading dot or tilde). Raises AudioError if nothing is left.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise AudioError(f"{path}: no such file or folder; check the spelling")
    files = sorted(file for file in path.rglob("*") if is_audio(file.relative_to(path)) and file.is_file())
    if not files:
        raise AudioError(f"{path}: no audio files in this folder; known suffixes: {' '.join(FORMATS)}")
    return files
