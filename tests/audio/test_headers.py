"""rosecd_jax.audio.io: headers whose length or rate is wrong, left open, or impossible."""

import io as standard_io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rosecd_jax.audio import io

SOUND = np.random.default_rng(0).uniform(-0.3, 0.3, 20_001).astype(np.float32)
READERS: dict[str, Callable[[Path], object]] = {
    "info": io.info,
    "read": io.read,
    "blocks": lambda path: list(io.read_blocks(path)),
    "decode": lambda path: io.decode(path.read_bytes(), str(path)),
}
every_reader = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)


def encoded(
    format: str = "WAV", subtype: str = "PCM_16", rate: int = 16_000, samples: np.ndarray = SOUND
) -> bytes:
    file = standard_io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format=format)
    return file.getvalue()


def with_length(content: bytes, data: int, riff: int) -> bytes:
    """A WAV whose header has another length of the samples and of the file."""
    return content[:4] + struct.pack("<I", riff) + content[8:40] + struct.pack("<I", data) + content[44:]


@every_reader
@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("WAV", "PCM_24"),
        ("WAV", "GSM610"),
        ("WAVEX", "FLOAT"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AIFF", "FLOAT"),
        ("AU", "PCM_16"),
    ],
)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_file_that_was_cut_is_refused(tmp_path, reader, format, subtype, share):
    content, path = encoded(format, subtype), tmp_path / "a.wav"
    path.write_bytes(content)
    reader(path)
    path.write_bytes(content[: 500 + int(share * (len(content) - 500))])
    with pytest.raises(
        io.AudioError, match=r"is cut short, [0-9]+ of [0-9]+ bytes are missing; copy it"
    ) as error:
        reader(path)
    assert str(error.value).startswith(f"{path}: ")


LONG = np.random.default_rng(1).uniform(-0.3, 0.3, 200_001).astype(np.float32)
"""Several pages of Ogg."""


@every_reader
@pytest.mark.parametrize("missing", [100, 0.05, 0.5])
@pytest.mark.parametrize(
    ("format", "subtype", "words"),
    [
        ("CAF", "PCM_16", r"is cut short, .* bytes are missing; copy|malformed"),
        ("CAF", "ALAC_16", r"is cut short, .* bytes are missing; copy|malformed"),
        ("NIST", "PCM_16", r"is cut short, [0-9]+ of 200001 samples are missing; copy it"),
        ("NIST", "ULAW", r"is cut short, [0-9]+ of 200001 samples are missing; copy it"),
        ("VOC", "PCM_16", r"is cut short, or other data follow its end; copy it"),
        ("OGG", "VORBIS", r"is cut short, or other data follow its end; copy it"),
        ("OGG", "OPUS", r"is cut short, or other data follow its end; copy it"),
    ],
)
def test_a_file_that_was_cut_is_refused_whatever_libsndfile_makes_of_it(
    tmp_path, reader, format, subtype, words, missing
):
    content, path = encoded(format, subtype, samples=LONG), tmp_path / "a.wav"
    path.write_bytes(content)
    reader(path)
    path.write_bytes(content[: -(missing if isinstance(missing, int) else int(missing * len(content)))])
    with pytest.raises(io.AudioError, match=words):
        reader(path)


@pytest.mark.parametrize("reader", ["read", "blocks", "decode"])
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_with_missing_pages_is_refused(tmp_path, reader, subtype):
    content, path = encoded("OGG", subtype, samples=LONG), tmp_path / "a.ogg"
    path.write_bytes(content)
    READERS[reader](path)
    page = content.index(b"OggS", len(content) // 2)
    path.write_bytes(content[: content.rindex(b"OggS", 0, page)] + content[page:])
    with pytest.raises(io.AudioError, match="pages in its middle are missing; copy it again"):
        READERS[reader](path)


def test_an_ogg_without_its_last_page_is_read(tmp_path):
    """As streams that were recorded until they were stopped: nothing says that more was meant to come."""
    content = encoded("OGG", "VORBIS", samples=LONG)
    (tmp_path / "a.ogg").write_bytes(content[: content.rindex(b"OggS")])
    assert 0 < io.read(tmp_path / "a.ogg").wave.shape[1] < LONG.size


@pytest.mark.parametrize(
    ("data", "riff"),
    [
        (0, 8),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFF0, 0xFFFFFFFF),
        (0x7FFFF000, 0x7FFFF024),
        (0x7FFFEFFE, 0x7FFFF022),
        (0x80000000, 0x80000024),
        (40_002 + 44, 40_038 + 44),
    ],
)
def test_a_length_that_a_pipe_left_open_is_none(tmp_path, data, riff):
    (tmp_path / "a.wav").write_bytes(with_length(encoded(), data, riff))
    expected = io.decode(encoded(), "whole").wave
    np.testing.assert_array_equal(io.read(tmp_path / "a.wav").wave, expected)
    assert io.info(tmp_path / "a.wav").samples == 20_001


@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF])
def test_a_header_that_was_never_completed_is_refused_with_its_repair(tmp_path, riff):
    (tmp_path / "a.wav").write_bytes(with_length(encoded(), 0, riff))
    with pytest.raises(io.AudioError, match=r"it holds no samples; .*-ignore_length 1"):
        io.read(tmp_path / "a.wav")


@every_reader
@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (1, "says 1 Hz, expected 1000 to 768000"),
        (999, "sox"),
        (2_000_000_000, "says 2000000000 Hz"),
        (0, "cannot be read as audio .its header gives no sample rate."),
    ],
)
def test_impossible_rates_are_refused(tmp_path, reader, rate, words):
    content = encoded()
    (tmp_path / "a.wav").write_bytes(content[:24] + struct.pack("<I", rate) + content[28:])
    with pytest.raises(io.AudioError, match=words) as error:
        reader(tmp_path / "a.wav")
    assert str(error.value).startswith(f"{tmp_path / 'a.wav'}: ")


@pytest.mark.parametrize("rate", [1000, 768_000])
def test_the_outermost_rates_are_read(rate):
    assert io.decode(encoded(rate=rate), "a").sample_rate == rate


@pytest.mark.parametrize("value", [1e200, 3.5e38, np.nan, np.inf])
def test_samples_too_large_for_float32_are_not_called_infinite(tmp_path, value):
    samples = np.append(np.zeros(100_000), value)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, "DOUBLE")
    words = "too large for float32" if np.isfinite(value) else "holds NaN or infinite samples"
    for name in ("read", "blocks", "decode"):
        with pytest.raises(io.AudioError, match=words):
            READERS[name](tmp_path / "a.wav")


@pytest.mark.parametrize("samples", [1, 320, 16_000])
def test_gsm_610_is_read(tmp_path, samples):
    soundfile.write(tmp_path / "a.wav", SOUND[:samples], 8000, "GSM610")
    audio = io.read(tmp_path / "a.wav")
    assert audio[1:4] == (8000, "GSM610", "WAV")
    assert audio.wave.shape[1] == io.info(tmp_path / "a.wav").samples >= samples
    blocks = np.concatenate(list(io.read_blocks(tmp_path / "a.wav", 1000)), axis=1)
    np.testing.assert_array_equal(blocks, audio.wave)
    np.testing.assert_array_equal(io.read(tmp_path / "a.wav", 100, 50).wave, audio.wave[:, 100:150][:, :50])
