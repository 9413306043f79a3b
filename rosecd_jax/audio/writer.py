"""Atomic writing of audio files, with samples rounded here and clipped samples counted."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rosecd_jax.atomic import replacing, temporary_start
from rosecd_jax.audio.formats import FORMATS, NO_TAGS, UNWRITABLE, AudioError, AudioInfo

# libsndfile rounds down in some formats and to the nearest in others, so `write` does the rounding.
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}
BLOCK = 65536  # samples written at a time: libvorbis overflows its stack on minutes of audio
LARGEST_WAV = 2**32 - 2**16  # bytes of samples; more need RF64, a WAV with 64-bit lengths
NO_PEAK_CHUNK = 0x1050  # libsndfile's command SFC_SET_ADD_PEAK_CHUNK, with false


def write(
    path: str | os.PathLike[str],
    wave: ArrayLike,
    sample_rate: int,
    subtype: str | None = None,
    format: str | None = None,
    bit_rate: float = 0.0,
    tags: Mapping[str, str] = NO_TAGS,
) -> int:
    """Write a floating-point wave, [samples] or [channels, samples], atomically.

    By default, the format follows from the suffix and the subtype from the format (PCM_16 for WAV and FLAC);
    both have libsndfile's names. All subtypes but FLOAT and DOUBLE clip to [-1, 1]. With a `bit_rate` (bits
    per second), MP3 and Opus use at least this rate, up to their maximum, and Vorbis its best quality;
    without one, libsndfile's medium. Tags that the format supports are written. Missing folders are created.
    Returns the number of clipped samples. Raises AudioError if the wave or format is invalid or writing
    fails; an existing file is then unchanged.
    """
    samples = np.asarray(wave)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise AudioError(f"{path}: shape {samples.shape}; give [samples] or [channels, samples], not empty")
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"{path}: samples are {samples.dtype}; scale them to floats in [-1, 1]")
    samples = np.atleast_2d(samples)
    length = samples.shape[1]
    with writing(path, sample_rate, len(samples), subtype, format, length, bit_rate, tags) as put:
        return put(samples)


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
) -> Iterator[Callable[[NDArray], int]]:
    """Write a file block by block; it is renamed into place when the context ends without an error.

    Formats, subtypes, clipping, bit rate, tags and errors are as in `write`. The AudioError for a full disk
    has the system's OSError as its cause.

    Args:
      samples: expected length, if known; a WAV that is too long for its header is written as RF64.

    Yields:
      A function that takes the next block, floating point [channels, samples], and returns the number of
      clipped samples.
    """
    path = Path(path)
    format, subtype = _encoding(path, format, subtype)
    bytes_a_sample = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}.get(subtype, 4)
    if format in ("WAV", "WAVEX") and samples * channels * bytes_a_sample > LARGEST_WAV:
        format = "RF64"
    if complaint := _misfit(format, subtype, sample_rate, channels):
        raise AudioError(f"{path}: {complaint}")
    settings = _lossy_settings(subtype, sample_rate, channels, bit_rate) if bit_rate else {}
    settings |= {"samplerate": sample_rate, "channels": channels, "subtype": subtype, "format": format}
    try:
        with replacing(path) as temporary, _closed(CheckedFile(temporary)) as file:
            with _encoder(path, file, settings, tags) as put:
                yield put
            file.close()
    except OSError as error:
        raise AudioError(f"{path}: cannot be written ({error}); choose another folder") from error


class CheckedFile:
    """A file for libsndfile that records errors, as libsndfile doesn't report a full disk.

    Methods called by libsndfile don't raise, because exceptions can't pass through C and would be printed.
    Seeking and reading can fail like writing, as they first write the buffer.
    """

    def __init__(self, path: Path) -> None:
        self.file = open(path, "w+b", buffering=2**18)  # noqa: SIM115
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self._try(self.file.write, data)
        return len(data)  # also after a failure: soundfile asserts that everything was written

    def read(self, size: int) -> bytes:
        return self._try(self.file.read, size) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._try(self.file.seek, offset, whence)
        return self.tell()

    def tell(self) -> int:
        return self._try(self.file.tell) or 0

    def _try(self, action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except OSError as error:
            self.error = self.error or error

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Flush everything to the disk, or raise."""
        self.check()
        self.file.close()


@contextlib.contextmanager
def _closed(file: CheckedFile) -> Iterator[CheckedFile]:
    """Close a file at the end without raising; call `file.close()` to see errors."""
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.file.close()


@contextlib.contextmanager
def _encoder(
    path: Path, file: CheckedFile, settings: Mapping[str, Any], tags: Mapping[str, str]
) -> Iterator[Callable[[NDArray], int]]:
    """Yield the function of `writing` for an open file; `path` is for errors."""
    import soundfile

    disk: Any = file
    subtype, pending = settings["subtype"], np.zeros((settings["channels"], 0), np.float32)
    try:
        with soundfile.SoundFile(disk, "w", **settings) as sound:
            if settings["format"] in ("WAV", "WAVEX"):
                # The PEAK chunk of floats contains the time: files of equal samples would differ. In RF64
                # libsndfile always writes it, and short AIFFs without it have a wrong length.
                soundfile._snd.sf_command(sound._file, NO_PEAK_CHUNK, soundfile._ffi.NULL, 0)
            for tag, text in tags.items():
                with contextlib.suppress(soundfile.LibsndfileError):  # the format has no such tag
                    setattr(sound, tag, text)

            def put(block: NDArray) -> int:
                # In pieces of one size, because the output of Vorbis depends on the pieces.
                nonlocal pending
                pending = np.concatenate([pending, _quantised(path, block, subtype)], axis=1)
                while pending.shape[1] >= BLOCK:
                    sound.write(pending[:, :BLOCK].T)
                    pending = pending[:, BLOCK:]
                    file.check()
                clips = subtype not in ("FLOAT", "DOUBLE")
                return int(np.count_nonzero(np.abs(block) > 1)) if clips else 0

            yield put
            sound.write(pending.T)
    except soundfile.LibsndfileError as error:
        file.check()
        raise AudioError(f"{path}: libsndfile: {error.error_string}") from error


def fits(path: str | os.PathLike[str], subtype: str | None) -> bool:
    """Return whether a file with this suffix can be written with this subtype (None: any)."""
    import soundfile

    suffix, subtype = Path(path).suffix.lower(), subtype and subtype.upper()
    format = FORMATS.get(suffix)
    if format is None or (format, subtype) in UNWRITABLE:
        return False
    if suffix == ".opus" and subtype not in (None, "OPUS"):  # unlike .ogg, .opus has one encoding
        return False
    return soundfile.check_format(format, subtype)


def subtypes(suffix: str) -> list[str]:
    """Return the subtypes that can be written to files with a suffix."""
    import soundfile

    return [subtype for subtype in soundfile.available_subtypes() if fits(f"a{suffix}", subtype)]


def refuse_misfit(
    path: str | os.PathLike[str], sample_rate: int, channels: int, subtype: str | None = None
) -> None:
    """Raise the AudioError that `writing` would raise for such a file, without disk access."""
    if complaint := _misfit(*_encoding(Path(path), None, subtype), sample_rate, channels):
        raise AudioError(f"{path}: {complaint}")


def most_padding(header: AudioInfo) -> int:
    """Return the maximum number of samples that an encoding adds to fill its last block."""
    trial = _trial(header.format, header.subtype, header.sample_rate, header.channels)
    return 0 if isinstance(trial, str) else trial.samples - 1


def _misfit(format: str, subtype: str, sample_rate: int, channels: int) -> str:
    """Return why an encoding can't hold such a wave, or "": some support few rates or channels."""
    trial = _trial(format, subtype, sample_rate, channels)
    if not isinstance(trial, str) and trial[:2] == (sample_rate, channels):
        return ""
    reason = trial if isinstance(trial, str) else f"it would be written at {trial.sample_rate} Hz"
    holds = f"{format} cannot hold {channels} channel(s) at {sample_rate} Hz as {subtype}"
    return f"{holds} ({reason}); choose another format or subtype, or resample"


@functools.cache
def _trial(format: str, subtype: str, sample_rate: int, channels: int) -> AudioInfo | str:
    """Write one sample with libsndfile, and return the header that it reads back, or its error."""
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
    """Return the format and subtype of a file to be written, as named by libsndfile."""
    import soundfile

    suffix = path.suffix.lower()
    format = format or FORMATS.get(suffix)
    if format is None:
        raise AudioError(f"{path}: unknown suffix {suffix!r}; use one of {' '.join(FORMATS)}")
    subtype = "OPUS" if subtype is None and suffix == ".opus" else subtype
    if not soundfile.check_format(format, subtype):
        raise AudioError(f"{path}: no such combination of format {format} and subtype {subtype}; change one")
    return format.upper(), str(subtype or soundfile.default_subtype(format)).upper()


def _lossy_settings(subtype: str, sample_rate: int, channels: int, bit_rate: float) -> dict[str, Any]:
    """Return libsndfile's settings for a lossy encoding at `bit_rate` (bits per second) or more.

    MP3 uses a constant rate and Opus a mean, both up to their maximum. Vorbis only supports a quality: the
    best, whose rate depends on the signal.
    """
    if subtype == "VORBIS":
        return {"compression_level": 0.0}
    if subtype == "OPUS":
        return {"compression_level": _level(bit_rate / channels, 6_000, 256_000)}
    if subtype == "MPEG_LAYER_III":
        high, middle = sample_rate >= 32_000, sample_rate >= 16_000
        lowest, highest = (32_000, 320_000) if high else (8_000, 160_000) if middle else (8_000, 64_000)
        # Frames of fewer than 192 bytes have no room for the exact length.
        least = 192 * 8 * sample_rate / (1152 if high else 576)
        # LAME rounds to the nearest of its rates, at most a quarter apart: a tenth more gives the next.
        wanted = 1.1 * max(bit_rate, least)
        return {"compression_level": _level(wanted, lowest, highest), "bitrate_mode": "CONSTANT"}
    return {}


def _level(wanted: float, lowest: float, highest: float) -> float:
    """Convert a bit rate to libsndfile's compression level: 0 is the highest rate; near 1 is refused."""
    return min(max((highest - wanted) / (highest - lowest), 0.0), 0.99)


def _quantised(path: Path, block: NDArray, subtype: str) -> NDArray[np.float32]:
    block = block.astype(np.float32)
    if not np.isfinite(block).all():
        raise AudioError(
            f"{path}: the wave holds samples that are NaN, infinite or beyond float32; fix its computation"
        )
    if subtype not in ("FLOAT", "DOUBLE"):
        block = block.clip(-1, 1)
    if subtype in BITS:
        steps = np.float32(2 ** (BITS[subtype] - 1))
        block = np.minimum(np.round(block * steps), steps - 1) / steps
    return block


def remove_leftovers(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Remove temporary files that killed writers of these files left; nothing may be writing them now."""
    starts: dict[Path, set[str]] = {}
    for path in map(Path, paths):
        starts.setdefault(path.parent, set()).add(temporary_start(path))
    for folder, known in starts.items():
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                if name.endswith(".part") and name[: -len(".0123456789abcdef.part")] in known:
                    os.unlink(folder / name)
