"""Reading and writing of audio files; the only module that opens them for reading.

Waves are float32 arrays whose full scale is [-1, 1]. Files are decoded by libsndfile (package soundfile).
"""

import contextlib
import os
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rosecd_jax.audio.folders import Found, find, is_audio, look, missing
from rosecd_jax.audio.formats import FORMATS, Audio, AudioError, AudioInfo
from rosecd_jax.audio.resampling import resample, resample_blocks, resampled_length
from rosecd_jax.audio.wav_stream import LEFT_OPEN
from rosecd_jax.audio.writer import (
    fits,
    most_padding,
    refuse_misfit,
    remove_leftovers,
    subtypes,
    write,
    writing,
)

if TYPE_CHECKING:
    import soundfile

__all__ = [
    "FORMATS",
    "RATES",
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
    "missing",
    "most_padding",
    "read",
    "read_blocks",
    "refuse_misfit",
    "remove_leftovers",
    "resample",
    "resample_blocks",
    "resampled_length",
    "subtypes",
    "write",
    "writing",
]


class NotFiniteError(AudioError):
    """Error for a readable file with samples that are NaN, infinite or too large for float32."""


UNDECLARED = 2**63 - 1  # length that libsndfile reports if the header has none
BLOCK = 65536  # samples read at a time
RATES = range(1_000, 768_001)
"""Accepted sample rates of files, in Hz."""
SLACK = 44
"""Bytes by which a header's length may exceed the data's: some programs count the header, or padding."""
CUT = re.compile(r"^ *(?:data|SSND|Data Size|Riff size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""libsndfile's log line about a header's length (WAV, AIFF, AU, CAF, RF64, W64) that isn't the file's."""
UNKNOWN_CONTENTS = "its contents are of no known format"
HOLE = "reports a hole at"
"""libsndfile's log line about missing pages of an Ogg file; after them, it reads nothing, or silence."""
CUT_IN_A_BLOCK = re.compile("Seems to be a truncated file|Junk after the last page")
"""libsndfile's log line about an incomplete VOC block or Ogg page, or about data after the last page."""
SAMPLE_COUNT = re.compile(rb"sample_count -i (\d+)")
"""The number of samples per channel in the header of a NIST file, which libsndfile ignores."""
LENGTHS_LEFT_OPEN = (*LEFT_OPEN, range(0x7EFF0000, 0x7F000009))
"""Placeholder lengths in headers written to a pipe: those of WAV, and those of sox's AIFF."""


def read(path: str | os.PathLike[str], start: int = 0, samples: int = -1) -> Audio:
    """Read an audio file in any format of libsndfile: all of it, or `samples` samples from `start`.

    Raises AudioError if it is missing, has no samples there, is damaged, cut short or not audio, if its rate
    is not in `RATES`, or if it holds samples that are NaN, infinite or too large for float32.
    """
    return _read(_existing(path), str(path), start, samples)


def decode(data: bytes, name: str) -> Audio:
    """Decode the bytes of an audio file, such as an archive's member; `name` is for errors.

    Raises AudioError as `read` does.
    """
    _refuse_empty(len(data), name)
    return _read(BytesIO(data), name)


def info(path: str | os.PathLike[str]) -> AudioInfo:
    """Read only a file's header, which is fast but doesn't check the samples.

    Samples are counted if their number is missing in the header, as in a FLAC from a pipe. Raises AudioError
    if the file is missing, empty or not audio, or its header declares no samples.
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

    Raises AudioError as `read` does, when it reaches the fault.
    """
    name, samples = str(path), 0
    with _open(_existing(path), name) as file:
        for block in _blocks(file, size):
            _refuse_unless_finite(block, name, file)
            samples += len(block)
            yield np.ascontiguousarray(block.T)
        _refuse_empty(samples, name, "samples")
        _refuse_hole(file, name)


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    try:
        if not path.is_file():
            kind = "is a folder" if path.is_dir() else missing(path, "no such file")
            raise AudioError(f"{path}: {kind}; give an audio file")
        _refuse_empty(path.stat().st_size, str(path))
        path.open("rb").close()  # libsndfile would only say "System error"
    except PermissionError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}); change its permissions") from error
    return path


def _read(source: Path | BytesIO, name: str, start: int = 0, count: int = -1) -> Audio:
    with _open(source, name) as file:
        length = file.frames
        if not file.seekable():  # no declared length, or GSM 6.10
            samples = np.concatenate([np.zeros((0, file.channels), np.float32), *_blocks(file)])
            length, samples = len(samples), samples[start:][: None if count < 0 else count]
        else:
            if start:
                file.seek(min(start, length))
            samples = file.read(count, dtype="float32", always_2d=True)
        _refuse_empty(len(samples), name, "samples")
        wave = np.ascontiguousarray(samples.T, np.float32)
        _refuse_unless_finite(wave, name, file)
        size = source.stat().st_size if isinstance(source, Path) else len(source.getvalue())
        whole = not start and count < 0  # a cut MP3 has fewer samples than declared
        if whole:
            _refuse_hole(file, name)
        bit_rate = 8 * size * file.samplerate / (len(samples) if whole else length)
        return Audio(wave, file.samplerate, file.subtype, file.format, bit_rate, _tags(file))


def _blocks(file: "soundfile.SoundFile", size: int = BLOCK) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of an open file, [samples, channels]."""
    while len(block := np.asarray(file.read(size, dtype="float32", always_2d=True), np.float32)):
        yield block


def _tags(file: "soundfile.SoundFile") -> dict[str, str]:
    """Return tags such as title and artist; not the writing program, nor invalid UTF-8 (\ufffd)."""
    tags = file.copy_metadata()
    return {key: text for key, text in tags.items() if text and key != "software" and "\ufffd" not in text}


@contextlib.contextmanager
def _open(source: Path | BytesIO, name: str) -> Iterator["soundfile.SoundFile"]:
    """Open a file with libsndfile, and convert its errors to AudioError."""
    import soundfile

    try:
        # As bytes: names that are not UTF-8 exist, and soundfile refuses to encode them.
        named: Any = source if isinstance(source, BytesIO) or os.name == "nt" else os.fsencode(source)
        with soundfile.SoundFile(named) as file:
            if file.frames == UNDECLARED:
                # soundfile seeks to the current position after each read, which fails at such a file's end.
                file.seekable = lambda: False
            _refuse_wrong_header(file, name)
            if file.format == "NIST":
                _refuse_cut_nist(file.frames, source, name)
            yield file
    except AudioError:  # about the samples; its message is complete
        raise
    # soundfile's own errors, and those that it raises for headerless files
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        reason = str(getattr(error, "error_string", error))
        if "SF_INFO" in reason:
            reason = "its header gives no sample rate"
        if "File does not exist" in reason:  # libsndfile, of text with an MP3's suffix
            reason = UNKNOWN_CONTENTS
        advice = "copy it again if it is cut short or damaged, else convert it to WAV"
        raise AudioError(f"{name}: cannot be read as audio ({reason}); {advice}") from error


def _refuse_empty(size: int, name: str, unit: str = "bytes") -> None:
    if size == 0:
        repair = ", or fix a WAV's header with ffmpeg -ignore_length 1 -i IN OUT" if unit == "samples" else ""
        raise AudioError(f"{name}: is empty, it holds no {unit}; copy or record it again{repair}")


def _refuse_wrong_header(file: "soundfile.SoundFile", name: str) -> None:
    """Raise AudioError for an impossible rate, or fewer bytes of samples than the header declares.

    A pipe's placeholder lengths are ignored: the samples are read to the end of the file.
    """
    if file.format == "RAW":  # libsndfile, of any contents with an AU's suffix
        raise AudioError(f"{name}: cannot be read as audio ({UNKNOWN_CONTENTS}); copy it again")
    if file.samplerate not in RATES:
        raise AudioError(
            f"{name}: its header says {file.samplerate} Hz, expected {RATES[0]} to {RATES[-1]}; "
            "correct the rate, for example with sox -r 16000 IN OUT"
        )
    for announced, there in (map(int, found) for found in CUT.findall(file.extra_info)):
        if announced > there + SLACK and not any(announced in lengths for lengths in LENGTHS_LEFT_OPEN):
            raise _cut(name, f"{announced - there} of {announced} bytes are missing")
    if CUT_IN_A_BLOCK.search(file.extra_info):
        raise _cut(name, "or other data follow its end")


def _refuse_hole(file: "soundfile.SoundFile", name: str) -> None:
    """Raise AudioError if pages were missing in an Ogg file that has been read."""
    if HOLE in file.extra_info:
        raise AudioError(
            f"{name}: pages in its middle are missing; copy it again, or save the rest with ffmpeg"
        )


def _refuse_cut_nist(samples: int, source: Path | BytesIO, name: str) -> None:
    """Raise AudioError if the header of a NIST file declares more than its `samples`."""
    with source.open("rb") if isinstance(source, Path) else BytesIO(source.getvalue()) as file:
        declared = SAMPLE_COUNT.search(file.read(1024))
    if declared and samples < int(declared[1]):
        raise _cut(name, f"{int(declared[1]) - samples} of {int(declared[1])} samples are missing")


def _cut(name: str, how: str) -> AudioError:
    return AudioError(f"{name}: is cut short, {how}; copy it again, or save the rest with ffmpeg -i IN OUT")


def _refuse_unless_finite(wave: NDArray[np.float32], name: str, file: "soundfile.SoundFile") -> None:
    if np.isfinite(wave).all():
        return
    if file.subtype == "DOUBLE":
        file.seek(0)
        if all(np.isfinite(block).all() for block in file.blocks(BLOCK)):  # as float64
            raise NotFiniteError(f"{name}: holds samples too large for float32, above 3.4e38; scale it down")
    raise NotFiniteError(f"{name}: holds NaN or infinite samples; export it again from its source")
