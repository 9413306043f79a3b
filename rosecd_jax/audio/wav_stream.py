"""Reading and writing of WAV headers (RIFF and RF64) in pipes.

A writer to a pipe can't seek back to fill in the lengths, so it leaves them open: they are 0, all ones, or
wrong. This module reads a header up to its first sample, and ignores a length that was left open.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from rosecd_jax.audio.pcm import ENCODINGS, Encoding

UNKNOWN = 0xFFFFFFFF
"""Length written by ffmpeg and others if it is unknown."""
LEFT_OPEN = (range(1), range(0x7FFF0000, 0x80000001), range(0xFFFFF000, UNKNOWN + 1))
"""Lengths that mean unknown: 0, or the largest number, signed or not, sometimes rounded down."""
LONG_LEFT_OPEN = (range(1), range(2**63, 2**64))
"""The same for lengths of 64 bits."""
MOST_SKIPPED = 1 << 24
"""Maximum bytes of chunks before the samples."""
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
KINDS = {2: "ADPCM", 6: "A-law", 7: "µ-law", 17: "IMA ADPCM", 80: "MPEG", 85: "MP3", 0xFF: "AAC"}
OTHER_FILES = {
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3": "MP3",
    b"FORM": "AIFF",
    b"caff": "CAF",
    b".snd": "AU",
    b"riff": "Wave64",
    b"\x1aE\xdf\xa3": "Matroska or WebM",
}
"""First bytes of other kinds of files."""
SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
"""The rest of the GUID that identifies an extensible WAV's encoding, after the format's number."""

ReadExactly = Callable[[int], bytes]
"""(count) -> `count` bytes, or fewer at the end of the input."""


class WavHeader(NamedTuple):
    """A WAV header; `format` is its format chunk, `size` the samples' number of bytes, None if left open."""

    encoding: Encoding
    sample_rate: int  # Hz
    channels: int
    format: bytes
    size: int | None

    def to_bytes(self) -> bytes:
        """Encode a RIFF header with the same format and size."""
        padded = self.format + b"\0" * (len(self.format) % 2)
        chunk = struct.pack("<4sI", b"fmt ", len(self.format)) + padded
        whole = UNKNOWN if self.size is None else 4 + len(chunk) + 8 + self.size + self.size % 2
        fits = whole < UNKNOWN and self.size is not None
        riff = struct.pack("<4sI4s", b"RIFF", whole if fits else UNKNOWN, b"WAVE")
        return riff + chunk + struct.pack("<4sI", b"data", self.size if fits else UNKNOWN)


def is_wav(start: bytes) -> bool:
    """Return whether the first four bytes of a stream begin a WAV file of any kind."""
    return start[:4] in (b"RIFF", b"RF64", b"RIFX")


def refuse_others(start: bytes) -> None:
    """Raise ValueError if a stream's first eight bytes are those of a known kind of file other than WAV."""
    known = (name for first, name in OTHER_FILES.items() if start.startswith(first))
    name = "MP4" if start[4:8] == b"ftyp" else next(known, None)
    if name:
        raise _unfit(f"is {name}, not WAV")


def read_header(start: bytes, read: ReadExactly) -> WavHeader:
    """Read a header up to the first sample.

    Args:
      start: the first four bytes, for which `is_wav` holds.
      read: reads the bytes after these.

    Raises:
      ValueError: if the header is incomplete or not WAV, or the samples are compressed or not supported.
    """
    if start == b"RIFX":
        raise _unfit("is a big-endian WAV (RIFX)")
    whole, kind = struct.unpack("<I4s", _exactly(read, 8))
    if kind != b"WAVE":
        raise _unfit("begins as a RIFF file, but is not WAV")
    format, long_sizes, skipped = None, None, 0
    while True:
        name, size = struct.unpack("<4sI", _exactly(read, 8))
        if name == b"data":
            break
        skipped += 8 + size + size % 2
        if skipped > MOST_SKIPPED:
            raise _unfit(f"has a damaged header: its chunk {name!r} claims {size} bytes")
        contents = _exactly(read, size + size % 2)[:size]
        if name == b"fmt ":
            format = contents
        elif name == b"ds64" and size >= 16:
            long_sizes = struct.unpack("<QQ", contents[:16])
    if format is None:
        raise _unfit("has a damaged header: no format before its samples")
    lengths_left_open = LEFT_OPEN
    if size == UNKNOWN and start == b"RF64" and long_sizes is not None:
        (whole, size), lengths_left_open = long_sizes, LONG_LEFT_OPEN
    whole_is_open, size_is_open = (any(n in some for some in lengths_left_open) for n in (whole, size))
    # If the file's length is known and exceeds an empty data chunk, that chunk is really empty.
    if size == 0 and not whole_is_open and whole > len(b"WAVEdata....") + skipped:
        size_is_open = False
    return WavHeader(*_read_format(format), format, None if size_is_open else size)


def _read_format(format: bytes) -> tuple[Encoding, int, int]:
    """Decode a format chunk to encoding, rate in Hz and channels."""
    if len(format) < 16:
        raise _unfit(f"has a damaged header: its format has {len(format)} bytes instead of 16 or more")
    kind, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", format[:16])
    if kind == EXTENSIBLE:
        if len(format) < 40 or format[26:40] != SUBFORMAT_TAIL:
            raise _unfit("is an extensible WAV of unknown encoding")
        kind = struct.unpack("<H", format[24:26])[0]
    if kind not in (PCM, FLOAT):
        raise _unfit(f"is compressed ({KINDS.get(kind, f'format {kind:#06x}')})")
    if not (channels and rate):
        raise _unfit(f"has a damaged header: {channels} channels at {rate} Hz")
    for encoding in ENCODINGS.values():
        if encoding.floating == (kind == FLOAT) and encoding.bits == bits:
            if frame != channels * encoding.size:
                raise _unfit(f"has a damaged header: {channels} channels of {bits} bits in {frame} bytes")
            return encoding, rate, channels
    raise _unfit(f"holds {'floating-point' if kind == FLOAT else 'integer'} samples of {bits} bits")


def _exactly(read: ReadExactly, count: int) -> bytes:
    data = read(count)
    if len(data) < count:
        raise _unfit("ends within the WAV header")
    return data


def _unfit(what: str) -> ValueError:
    return ValueError(f"the input {what}; make it plain WAV, as by ffmpeg -i INPUT -c:a pcm_s16le -f wav -")
