"""Audio files in and out, with the names of finding and resampling them. Nothing else opens an audio file.

Waves are float32 arrays whose full scale is [-1, 1]. Files go through libsndfile (package soundfile).
"""

import contextlib
import functools
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rosecd_jax.audio.checked_file import CheckedFile
from rosecd_jax.audio.folders import Found, find, is_audio, look
from rosecd_jax.audio.formats import FORMATS, UNWRITABLE, AudioError, lossy_settings
from rosecd_jax.audio.resampling import resample, resample_blocks, resampled_length

if TYPE_CHECKING:
    import soundfile

__all__ = [
    "FORMATS",
    "Audio",
    "AudioError",
    "AudioInfo",
    "Found",
    "decode",
    "find",
    "fits",
    "info",
    "is_audio",
    "look",
    "most_padding",
    "read",
    "read_blocks",
    "refuse_misfit",
    "remove_leftovers",
    "resample",
    "resample_blocks",
    "resampled_length",
    "write",
    "writing",
]

# libsndfile rounds down in some formats and to the nearest in others, so `write` does the rounding.
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}
NO_TAGS: Mapping[str, str] = {}
UNDECLARED = 2**63 - 1  # libsndfile's length of a stream whose header says none
BLOCK = 65536  # samples written at a time: libvorbis overflows its stack on minutes at once
LARGEST_WAV = 2**32 - 2**16  # bytes of samples; more need RF64, which is a WAV with longer counters


class Audio(NamedTuple):
    """A file's wave, float32 [channels, samples], and what is needed to write its like."""

    wave: NDArray[np.float32]
    sample_rate: int  # Hz
    subtype: str  # sample encoding, in libsndfile's words: PCM_16, PCM_24, FLOAT, ...
    format: str  # container: WAV, FLAC, OGG, ...
    bit_rate: float = 0.0  # bits a second, of the whole file; 0: unknown
    tags: Mapping[str, str] = NO_TAGS  # title, artist, ..., in soundfile's words


class AudioInfo(NamedTuple):
    """What a file's header says; the last four as in `Audio`."""

    sample_rate: int  # Hz
    channels: int
    samples: int  # per channel
    subtype: str
    format: str
    bit_rate: float = 0.0
    tags: Mapping[str, str] = NO_TAGS


def read(path: str | os.PathLike[str], start: int = 0, samples: int = -1) -> Audio:
    """Read an audio file of any format that libsndfile knows, whole or `samples` samples of it from `start`.

    Raises AudioError if it is missing, empty there, damaged, not audio, or holds NaN or infinite samples.
    """
    return _read(_existing(path), str(path), start, samples)


def decode(data: bytes, name: str) -> Audio:
    """Decode the bytes of an audio file, as of a member of an archive; `name` is how errors call it.

    Raises AudioError as `read` does.
    """
    _refuse_empty(len(data), name)
    return _read(BytesIO(data), name)


def info(path: str | os.PathLike[str]) -> AudioInfo:
    """Read a file's header only: quick, but says nothing about the samples behind it.

    They are read and counted if the header doesn't say how many there are, as in a FLAC from a pipe. Raises
    AudioError if the file is missing, empty or not audio, or its header declares no samples.
    """
    source = _existing(path)
    with _open(source, str(path)) as file:
        samples = sum(map(len, _blocks(file))) if file.frames == UNDECLARED else file.frames
        _refuse_empty(samples, str(path), "samples")
        bit_rate = 8 * source.stat().st_size * file.samplerate / samples
        encoding = file.subtype, file.format, bit_rate, _tags(file)
        return AudioInfo(file.samplerate, file.channels, samples, *encoding)


def read_blocks(path: str | os.PathLike[str], size: int = BLOCK) -> Iterator[NDArray[np.float32]]:
    """Read a file as blocks of `size` samples, float32 [channels, samples], the last one shorter.

    Raises AudioError as `read` does, when it comes to the place that is at fault.
    """
    name, samples = str(path), 0
    with _open(_existing(path), name) as file:
        for block in _blocks(file, size):
            _refuse_unless_finite(block, name)
            samples += len(block)
            yield np.ascontiguousarray(block.T)
    _refuse_empty(samples, name, "samples")


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    try:
        if not path.is_file():
            kind = "is not a regular file" if path.exists() else "no such file"
            raise AudioError(f"{path}: {'is a folder' if path.is_dir() else kind}; give an audio file")
        _refuse_empty(path.stat().st_size, str(path))
        path.open("rb").close()  # libsndfile would only say "System error"
    except PermissionError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}); change its permissions") from error
    return path


def _read(source: Path | BytesIO, name: str, start: int = 0, count: int = -1) -> Audio:
    with _open(source, name) as file:
        length = file.frames
        if length == UNDECLARED:
            samples = np.concatenate([np.zeros((0, file.channels), np.float32), *_blocks(file)])
            length, samples = len(samples), samples[start:][: None if count < 0 else count]
        else:
            if start:
                file.seek(min(start, length))
            samples = file.read(count, dtype="float32", always_2d=True)
        _refuse_empty(len(samples), name, "samples")
        wave = np.ascontiguousarray(samples.T, np.float32)
        _refuse_unless_finite(wave, name)
        size = source.stat().st_size if isinstance(source, Path) else len(source.getvalue())
        bit_rate = 8 * size * file.samplerate / length
        return Audio(wave, file.samplerate, file.subtype, file.format, bit_rate, _tags(file))


def _blocks(file: "soundfile.SoundFile", size: int = BLOCK) -> Iterator[NDArray[np.float32]]:
    """The samples of an open file, [samples, channels], until it ends."""
    while len(block := np.asarray(file.read(size, dtype="float32", always_2d=True), np.float32)):
        yield block


def _tags(file: "soundfile.SoundFile") -> dict[str, str]:
    """Title, artist and so on; not the program that wrote the file, nor what is not UTF-8 (\ufffd)."""
    tags = file.copy_metadata()
    return {key: text for key, text in tags.items() if text and key != "software" and "\ufffd" not in text}


@contextlib.contextmanager
def _open(source: Path | BytesIO, name: str) -> Iterator["soundfile.SoundFile"]:
    """A file in libsndfile's hands; whatever that can't make sense of becomes an AudioError."""
    import soundfile

    try:
        # As bytes: names that are not UTF-8 exist, and soundfile refuses to encode them.
        named: Any = source if isinstance(source, BytesIO) or os.name == "nt" else os.fsencode(source)
        with soundfile.SoundFile(named) as file:
            if file.frames == UNDECLARED:
                # soundfile seeks to where it is after each read, which fails at the end of such a file.
                file.seekable = lambda: False
            yield file
    except AudioError:  # of samples that were read: it says all there is to say
        raise
    # soundfile's own errors, and what it does about headerless files
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
    bit_rate: float = 0.0,
    tags: Mapping[str, str] = NO_TAGS,
) -> None:
    """Write a floating-point wave, [samples] or [channels, samples], completely or not at all.

    The format follows from the suffix and the subtype from the format (PCM_16 for WAV and FLAC) unless given,
    in libsndfile's words. All subtypes but FLOAT and DOUBLE clip to [-1, 1]. If a `bit_rate` is given (bits a
    second), MP3 and Opus are asked for no less, as far as they go, and Vorbis for its best quality; else they
    get libsndfile's medium. Of `tags`, those that the format knows are written. Missing folders are made.
    Raises AudioError if wave or format are unfit or writing fails; a file already there stays as it was.
    """
    samples = np.asarray(wave)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise AudioError(f"{path}: shape {samples.shape}; give [samples] or [channels, samples], not empty")
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"{path}: samples are {samples.dtype}; scale them to floats in [-1, 1]")
    samples = np.atleast_2d(samples)
    length = samples.shape[1]
    with writing(path, sample_rate, len(samples), subtype, format, length, bit_rate, tags) as put:
        put(samples)


@contextlib.contextmanager
def writing(
    path: str | os.PathLike[str],
    sample_rate: int,
    channels: int,
    subtype: str | None = None,
    format: str | None = None,
    samples: int = 0,
    bit_rate: float = 0.0,
    tags: Mapping[str, str] = NO_TAGS,
) -> Iterator[Callable[[NDArray], None]]:
    """Write a file block by block; it has its name when the context ends, and is not there if that raises.

    Formats, subtypes, clipping, bit rate, tags and what is raised are those of `write`. An AudioError of a
    full disk has the system's OSError as its cause.

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
    if complaint := _misfit(format, subtype, sample_rate, channels):
        raise AudioError(f"{path}: {complaint}")
    # In the same folder, where os.replace is atomic.
    temporary = path.with_name(f"{_temporary_start(path)}.{uuid.uuid4().hex[:16]}.part")
    file = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = CheckedFile(temporary)
        try:
            disk: Any = file
            settings = lossy_settings(subtype, sample_rate, channels, bit_rate) if bit_rate else {}
            with soundfile.SoundFile(
                disk, "w", sample_rate, channels, subtype, format=format, **settings
            ) as sound:
                for tag, text in tags.items():
                    with contextlib.suppress(soundfile.LibsndfileError):  # the format has no such tag
                        setattr(sound, tag, text)
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
            raise AudioError(f"{path}: libsndfile: {error.error_string}") from error
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

    suffix, subtype = Path(path).suffix.lower(), subtype and subtype.upper()
    format = FORMATS.get(suffix)
    if format is None or (format, subtype) in UNWRITABLE:
        return False
    if suffix == ".opus" and subtype not in (None, "OPUS"):  # .ogg holds any of Ogg's encodings, .opus one
        return False
    return soundfile.check_format(format, subtype)


def refuse_misfit(
    path: str | os.PathLike[str], sample_rate: int, channels: int, subtype: str | None = None
) -> None:
    """Raise the AudioError with which `writing` would refuse such a file, without a look at the disk."""
    if complaint := _misfit(*_encoding(Path(path), None, subtype), sample_rate, channels):
        raise AudioError(f"{path}: {complaint}")


def most_padding(header: AudioInfo) -> int:
    """The most samples by which a file like this outlasts what was put in: some encodings fill up a block."""
    trial = _trial(header.format, header.subtype, header.sample_rate, header.channels)
    return 0 if isinstance(trial, str) else trial.samples - 1


def _misfit(format: str, subtype: str, sample_rate: int, channels: int) -> str:
    """Why there is no such file, or "": some encodings are of few rates, or of few channels."""
    trial = _trial(format, subtype, sample_rate, channels)
    if not isinstance(trial, str) and trial[:2] == (sample_rate, channels):
        return ""
    reason = trial if isinstance(trial, str) else f"it would come out at {trial.sample_rate} Hz"
    holds = f"{format} cannot hold {channels} channel(s) at {sample_rate} Hz as {subtype}"
    return f"{holds} ({reason}); choose another format or subtype, or resample"


@functools.cache
def _trial(format: str, subtype: str, sample_rate: int, channels: int) -> AudioInfo | str:
    """What libsndfile reads of a file of one sample that it wrote, or why it doesn't write it."""
    import soundfile

    trial = BytesIO()
    try:
        with soundfile.SoundFile(trial, "w", sample_rate, channels, subtype, format=format) as file:
            file.write(np.zeros((1, channels)))
        trial.seek(0)
        with soundfile.SoundFile(trial) as file:
            return AudioInfo(file.samplerate, file.channels, file.frames, file.subtype, file.format)
    except (soundfile.SoundFileError, ValueError) as error:
        return getattr(error, "error_string", str(error))


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
