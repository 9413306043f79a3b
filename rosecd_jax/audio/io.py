"""Audio files in and out, and resampling. Nothing else in the package opens an audio file.

Waves are float32 arrays whose full scale is [-1, 1]. Files go through libsndfile (package soundfile), sample
rates through libsoxr (package soxr).
"""

import contextlib
import math
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rosecd_jax.audio.checked_file import CheckedFile

if TYPE_CHECKING:
    import soundfile

__all__ = [
    "Audio",
    "AudioError",
    "AudioInfo",
    "decode",
    "find",
    "fits",
    "info",
    "is_audio",
    "read",
    "read_blocks",
    "remove_leftovers",
    "resample",
    "resample_blocks",
    "resampled_length",
    "write",
    "writing",
]

# Suffix -> libsndfile's format. Headerless and MATLAB files are left out: there a suffix says too little.
FORMATS = {".wav": "WAV", ".flac": "FLAC", ".mp3": "MP3", ".caf": "CAF", ".w64": "W64", ".rf64": "RF64"}
FORMATS |= {".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".aif": "AIFF", ".aiff": "AIFF"}
FORMATS |= {".au": "AU", ".snd": "AU", ".sph": "NIST", ".nist": "NIST"}
# libsndfile rounds down in some formats and to the nearest in others, so `write` does the rounding.
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}
UNDECLARED = 2**63 - 1  # libsndfile's length of a stream whose header says none
BLOCK = 65536  # samples written at a time: libvorbis overflows its stack on minutes at once
LARGEST_WAV = 2**32 - 2**16  # bytes of samples; more need RF64, which is a WAV with longer counters


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
    subtype: str
    format: str


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
        header = AudioInfo(file.samplerate, file.channels, file.frames, file.subtype, file.format)
    _refuse_empty(header.samples, str(path), "samples")
    return header


def read_blocks(path: str | os.PathLike[str], size: int = BLOCK) -> Iterator[NDArray[np.float32]]:
    """Read a file as blocks of `size` samples, float32 [channels, samples], the last one shorter.

    Raises AudioError as `read` does, when it comes to the place that is at fault.
    """
    name, samples = str(path), 0
    with _open(_existing(path), name) as file:
        while len(block := np.asarray(file.read(size, dtype="float32", always_2d=True), np.float32)):
            _refuse_unless_finite(block, name)
            samples += len(block)
            yield np.ascontiguousarray(block.T)
    _refuse_empty(samples, name, "samples")


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
    _refuse_unless_finite(wave, name)
    return audio


@contextlib.contextmanager
def _open(source: Path | BytesIO, name: str) -> Iterator["soundfile.SoundFile"]:
    """A file in libsndfile's hands; whatever that can't make sense of becomes an AudioError."""
    import soundfile

    try:
        # As bytes: names that are not UTF-8 exist, and soundfile refuses to encode them.
        named: Any = source if isinstance(source, BytesIO) or os.name == "nt" else os.fsencode(source)
        with soundfile.SoundFile(named) as file:
            if file.frames == UNDECLARED:
                raise ValueError("its header declares no length")
            yield file
    except AudioError:  # of samples that were read: it says all there is to say
        raise
    # soundfile's own errors, and what it does about headerless files and streams of undeclared length
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        reason = getattr(error, "error_string", error)
        raise AudioError(f"{name}: cannot be read as audio ({reason}); convert it to WAV") from error


def _refuse_empty(size: int, name: str, unit: str = "bytes") -> None:
    if size == 0:
        raise AudioError(f"{name}: is empty, it holds no {unit}; copy or record it again")


def _refuse_unless_finite(wave: NDArray[np.float32], name: str) -> None:
    if not np.isfinite(wave).all():
        raise AudioError(f"{name}: holds NaN or infinite samples; export it again from its source")


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
    samples = np.asarray(wave)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise AudioError(f"{path}: shape {samples.shape}; give [samples] or [channels, samples], not empty")
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"{path}: samples are {samples.dtype}; scale them to floats in [-1, 1]")
    samples = np.atleast_2d(samples)
    with writing(path, sample_rate, len(samples), subtype, format, samples.shape[1]) as put:
        put(samples)


@contextlib.contextmanager
def writing(
    path: str | os.PathLike[str],
    sample_rate: int,
    channels: int,
    subtype: str | None = None,
    format: str | None = None,
    samples: int = 0,
) -> Iterator[Callable[[NDArray], None]]:
    """Write a file block by block; it has its name when the context ends, and is not there if that raises.

    Formats, subtypes, clipping and what is raised are those of `write`. An AudioError of a full disk has the
    system's OSError as its cause.

    Args:
      samples: how many will come, as far as is known; a WAV that would be too long for its header is written
        as RF64.

    Yields:
      A function that takes the next block, floating point [channels, samples].
    """
    import soundfile

    path = Path(path)
    format, subtype = _encoding(path, format, subtype)
    bytes_a_sample = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}.get(subtype, 4)
    if format in ("WAV", "WAVEX") and samples * channels * bytes_a_sample > LARGEST_WAV:
        format = "RF64"
    # In the same folder, where os.replace is atomic.
    temporary = path.with_name(f"{_temporary_start(path)}.{uuid.uuid4().hex[:16]}.part")
    file = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = CheckedFile(temporary)
        try:
            disk: Any = file
            with soundfile.SoundFile(disk, "w", sample_rate, channels, subtype, format=format) as sound:
                pending = np.zeros((channels, 0), np.float32)

                def put(block: NDArray) -> None:
                    # Always pieces of one size, because what Vorbis makes of a wave depends on the pieces.
                    nonlocal pending
                    pending = np.concatenate([pending, _quantised(path, block, subtype)], axis=1)
                    while pending.shape[1] >= BLOCK:
                        sound.write(pending[:, :BLOCK].T)
                        pending = pending[:, BLOCK:]
                        file.check()

                yield put
                sound.write(pending.T)
        except soundfile.LibsndfileError as error:
            file.check()
            complaint = (
                f"{format} cannot hold {channels} channel(s) at {sample_rate} Hz ({error.error_string})"
            )
            raise AudioError(f"{path}: {complaint}; choose another format, or resample") from error
        file.close()
        os.replace(temporary, path)
    except OSError as error:
        raise AudioError(f"{path}: cannot be written ({error}); choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            if file is not None:
                file.file.close()
        with contextlib.suppress(OSError):
            temporary.unlink()


def fits(path: str | os.PathLike[str], subtype: str | None) -> bool:
    """Whether a file of this suffix can be written, with this subtype (None: some)."""
    import soundfile

    format = FORMATS.get(Path(path).suffix.lower())
    return format is not None and soundfile.check_format(format, subtype)


def _encoding(path: Path, format: str | None, subtype: str | None) -> tuple[str, str]:
    """The format and subtype of a file to be written, in libsndfile's words."""
    import soundfile

    suffix = path.suffix.lower()
    format = format or FORMATS.get(suffix)
    if format is None:
        raise AudioError(f"{path}: unknown suffix {suffix!r}; use one of {' '.join(FORMATS)}")
    subtype = "OPUS" if subtype is None and suffix == ".opus" else subtype
    if not soundfile.check_format(format, subtype):
        raise AudioError(f"{path}: no such combination of format {format} and subtype {subtype}; change one")
    return format.upper(), str(subtype or soundfile.default_subtype(format)).upper()


def _quantised(path: Path, block: NDArray, subtype: str) -> NDArray[np.float32]:
    block = block.astype(np.float32)
    if not np.isfinite(block).all():
        raise AudioError(f"{path}: the wave holds NaN or infinite samples; correct what computed it")
    if subtype not in ("FLOAT", "DOUBLE"):
        block = block.clip(-1, 1)
    if subtype in BITS:
        steps = np.float32(2 ** (BITS[subtype] - 1))
        block = np.minimum(np.round(block * steps), steps - 1) / steps
    return block


def _temporary_start(path: Path) -> str:
    """How the temporary name of a file begins; names have at most 255 bytes, not all of them UTF-8."""
    name = path.name
    while len(os.fsencode(name)) > 200:
        name = name[:-1]
    return f".{name}"


def remove_leftovers(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Remove what killed writers of these files left behind, if it can be; only while nobody writes them."""
    starts: dict[Path, set[str]] = {}
    for path in map(Path, paths):
        starts.setdefault(path.parent, set()).add(_temporary_start(path))
    for folder, known in starts.items():
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                if name.endswith(".part") and name[: -len(".0123456789abcdef.part")] in known:
                    os.unlink(folder / name)


def resampled_length(samples: int, rate_in: int, rate_out: int) -> int:
    """How many samples `resample` makes of `samples`: the nearest number, halves up as in soxr, not 0."""
    return max(1, (2 * samples * rate_out + rate_in) // (2 * rate_in))


def resample(wave: ArrayLike, rate_in: int, rate_out: int, samples: int | None = None) -> NDArray[np.float32]:
    """Resample [..., samples] from `rate_in` to `rate_out` (Hz), at soxr's best quality.

    Returns float32 of `resampled_length`, or cut or zero-padded to `samples`: how a wave gets its own length
    back after a stay at another rate. Equal rates leave the values as they are.
    """
    import soxr

    source = np.asarray(wave, np.float32)
    *leading, length = source.shape
    channels = source.reshape(math.prod(leading), length)
    if rate_in != rate_out:
        channels = soxr.resample(channels.T, rate_in, rate_out, quality="VHQ").T
    if samples is None:
        samples = resampled_length(length, rate_in, rate_out)
    result = np.zeros((len(channels), samples), np.float32)
    kept = min(samples, channels.shape[1])
    result[:, :kept] = channels[:, :kept]
    return result.reshape(*leading, samples)


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], rate_in: int, rate_out: int, samples: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """`resample` of a wave that comes in blocks [channels, samples]; the same values, in other blocks."""
    import soxr

    length = produced = channels = 0
    stream = None

    def kept(block: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal produced
        block = block[:, : None if samples is None else max(0, samples - produced)]
        produced += block.shape[1]
        return block

    for block in blocks:
        length, channels = length + block.shape[1], len(block)
        if rate_in != rate_out:
            stream = stream or soxr.ResampleStream(rate_in, rate_out, channels, quality="VHQ")
            block = stream.resample_chunk(np.ascontiguousarray(block.T)).T
        yield kept(block)
    if stream is not None:
        yield kept(stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).T)
    if samples is None:
        samples = resampled_length(length, rate_in, rate_out)
    missing = samples - produced
    if missing > 0:
        yield np.zeros((channels, missing), np.float32)


def is_audio(path: PurePath) -> bool:
    """Whether a relative path ends as an audio file's, and no part of it is hidden or temporary (. or ~)."""
    return path.suffix.lower() in FORMATS and not any(part.startswith((".", "~")) for part in path.parts)


def find(path: str | os.PathLike[str]) -> list[Path]:
    """The audio files of a folder and its subfolders, sorted; or the file itself, if `path` is a file.

    Skips hidden and temporary names (a leading dot or tilde). Links are followed, to folders too, but no
    folder is entered from below itself; a link that leads nowhere is found, for whoever reads it to complain.
    Raises AudioError if nothing is left, or a folder can't be read.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise AudioError(f"{path}: no such file or folder; check the spelling")

    def refuse(error: OSError) -> None:
        raise AudioError(f"{error.filename}: cannot be read ({error.strerror}); change its permissions")

    files = []
    above = {path: (os.path.realpath(path),)}  # the real places of a folder and of those above it
    for folder, folders, names in os.walk(path, followlinks=True, onerror=refuse):
        here = Path(folder)
        places = above.pop(here)
        entered = {name: os.path.realpath(here / name) for name in folders}
        folders[:] = [name for name, place in entered.items() if place not in places]
        above |= {here / name: (*places, entered[name]) for name in folders}
        files += [here / name for name in names if is_audio((here / name).relative_to(path))]
    if not files:
        raise AudioError(f"{path}: no audio files in this folder; known suffixes: {' '.join(FORMATS)}")
    return sorted(files)
