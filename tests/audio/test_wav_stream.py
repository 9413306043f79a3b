"""WAV headers as pipes bring them, and samples as bytes, against libsndfile's reading of the same."""

import contextlib
import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from rosecd_jax.audio.pcm import ENCODINGS
from rosecd_jax.audio.wav_stream import is_wav, read_header

SUBTYPES = {
    "u8": "PCM_U8",
    "s16le": "PCM_16",
    "s24le": "PCM_24",
    "s32le": "PCM_32",
    "f32le": "FLOAT",
    "f64le": "DOUBLE",
}


def wave(channels: int = 2, samples: int = 100) -> np.ndarray:
    values = np.random.default_rng(0).uniform(-1, 1, (channels, samples)).astype(np.float32)
    values[:, :2] = [-1, 0]
    return values


def wav_file(subtype: str, format: str = "WAV", channels: int = 2) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave(channels).T, 44_100, subtype, format=format)
    return file.getvalue()


def chunk(name: bytes, contents: bytes, size: int | None = None) -> bytes:
    length = len(contents) if size is None else size
    return name + struct.pack("<I", length) + contents + b"\0" * (len(contents) % 2)


def plain(kind: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, frame: int | None = None):
    frame = channels * bits // 8 if frame is None else frame
    return chunk(b"fmt ", struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits))


def riff(*chunks: bytes, name: bytes = b"RIFF", form: bytes = b"WAVE", size: int = 0xFFFFFFFF) -> bytes:
    return name + struct.pack("<I", size) + form + b"".join(chunks)


def read(data: bytes):
    """Return the header and the bytes after it."""
    file = io.BytesIO(data)
    start = file.read(4)
    assert is_wav(start)
    return read_header(start, file.read), file.read()


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("name", ENCODINGS)
def test_headers_and_samples_are_read_as_libsndfile_reads_them(name, format):
    data = wav_file(SUBTYPES[name], format)
    header, rest = read(data)
    assert (header.encoding.name, header.sample_rate, header.channels) == (name, 44_100, 2)
    assert header.size == 100 * 2 * header.encoding.size
    expected = soundfile.read(io.BytesIO(data), dtype="float32")[0].T
    np.testing.assert_array_equal(header.encoding.decode(rest[: header.size], 2), expected)


@pytest.mark.parametrize("name", ENCODINGS)
def test_what_is_written_is_read_by_libsndfile(name):
    header, _ = read(wav_file(SUBTYPES[name]))
    encoding, values = header.encoding, wave()
    data = header.to_bytes() + encoding.encode(values)
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == 44_100
    half_a_step = 0 if encoding.floating else 2.0 ** -min(encoding.bits, 24)
    np.testing.assert_allclose(samples.T, values, atol=half_a_step + 1e-9, rtol=0)
    np.testing.assert_array_equal(encoding.decode(encoding.encode(samples.T), 2), samples.T)


@pytest.mark.parametrize("name", ["u8", "s16le", "s24le", "s32le"])
def test_integers_are_clipped(name):
    encoding = ENCODINGS[name]
    decoded = encoding.decode(encoding.encode(np.array([[-3.0, 1.0, 7.0]], np.float32)), 1)[0]
    top = np.float32(1 - 2.0 ** (1 - encoding.bits))
    np.testing.assert_array_equal(decoded, [-1, top, top])


def test_half_a_frame_is_no_frame():
    with pytest.raises(ValueError, match="5 bytes are not whole frames of 2 s16le samples"):
        ENCODINGS["s16le"].decode(b"12345", 2)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0xFFFFF000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000])
def test_a_length_may_be_left_open(size):
    header, rest = read(riff(chunk(b"LIST", b"odd"), plain(), chunk(b"data", b"abcd", size)))
    assert header.size is None
    assert rest == b"abcd"
    again, rest = read(header.to_bytes() + b"abcd")
    assert again == header
    assert rest == b"abcd"


@pytest.mark.parametrize("before", [b"", chunk(b"LIST", b"odd")])
def test_no_samples_are_none_where_the_whole_has_a_length_and_goes_on(before):
    chunks = before, plain(), chunk(b"data", b""), chunk(b"LIST", b"title")
    length = 4 + len(b"".join(chunks))
    header, rest = read(riff(*chunks, size=length))
    assert header.size == 0
    assert rest == chunks[-1]
    # As Python's wave and libsndfile write it before there are samples, and others who know no length.
    for size in (length - len(chunks[-1]), 8, 0, 0x7FFFF000, 0xFFFFFFFF):
        assert read(riff(*chunks, size=size))[0].size is None
    for long_length, expected in ((length + 36, 0), (0, None), (length, None), (2**64 - 1, None)):
        sizes = chunk(b"ds64", struct.pack("<QQQI", long_length, 0, 0, 0))
        data = riff(sizes, before, plain(), chunk(b"data", b"", 0xFFFFFFFF), chunks[-1], name=b"RF64")
        assert read(data)[0].size == expected


def test_long_files_have_their_length_elsewhere():
    for length, expected in ((10, 10), (2**40, 2**40), (0, None), (2**64 - 1, None)):
        sizes = chunk(b"ds64", struct.pack("<QQQI", 0, length, 0, 0))
        header, _ = read(riff(sizes, plain(), chunk(b"data", b"", 0xFFFFFFFF), name=b"RF64"))
        assert header.size == expected
        again, _ = read(header.to_bytes())
        assert again.size == (10 if length == 10 else None)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (riff(plain(kind=0x55)), r"compressed \(MP3\)"),
        (riff(plain(kind=0x1234)), r"compressed \(format 0x1234\)"),
        (riff(plain(bits=12, frame=2)), "integer samples of 12 bits"),
        (riff(plain(kind=3, bits=16)), "floating-point samples of 16 bits"),
        (riff(plain(frame=7)), "1 channels of 16 bits in 7 bytes"),
        (riff(plain(channels=0)), "0 channels"),
        (riff(plain(rate=0)), "at 0 Hz"),
        (riff(plain(kind=0xFFFE)), "extensible WAV of unknown encoding"),
        (riff(chunk(b"fmt ", b"short")), "5 bytes instead of 16"),
        (riff(), "no format before its samples"),
        (riff(chunk(b"junk", b"", 2**31)), "claims 2147483648 bytes"),
        (riff(form=b"AVI "), "but is not WAV"),
        (riff(plain(), name=b"RIFX"), "big-endian"),
    ],
)
def test_what_is_not_plain_wav_is_refused(data, words):
    with pytest.raises(ValueError, match=words + r".*ffmpeg -i INPUT -c:a pcm_s16le -f wav -"):
        read(data + chunk(b"data", b"abcd"))


@given(st.data())
def test_a_header_that_ends_early_or_is_damaged_is_refused_or_read(data):
    """Any bytes raise nothing but ValueError."""
    good = riff(chunk(b"LIST", b"title"), plain(), chunk(b"data", b""))
    for end in range(4, len(good)):
        with pytest.raises(ValueError, match="ends within the WAV header"):
            read(good[:end])
    damaged = bytearray(good)
    for place in data.draw(st.lists(st.integers(4, len(good) - 1), max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        read(bytes(damaged))
