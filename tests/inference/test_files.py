"""One file into another: what it keeps besides its samples."""

import dataclasses
import json
import struct
import warnings

import numpy as np
import pytest

from rosecd_jax.audio import io
from rosecd_jax.inference.plan import fitting_subtype
from rosecd_jax.inference.report import Summary
from tests.inference.small import speech_like


@pytest.mark.parametrize("limit", [30.0, 1.0], ids=["whole", "windows"])
@pytest.mark.parametrize(("suffix", "bit_rate"), [(".mp3", 144_000), (".opus", 128_000), (".flac", 0)])
def test_bit_rate_and_tags_are_kept(student, tmp_path, limit, suffix, bit_rate):
    enhancer = dataclasses.replace(student, limit=limit)
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    io.write(source, speech_like(32_000), 16_000, bit_rate=bit_rate, tags={"title": "Über", "artist": "Me"})
    enhancer.enhance_file(source, target)
    assert io.info(target).tags == {"title": "Über", "artist": "Me"}
    if bit_rate:
        assert io.info(target).bit_rate > 0.8 * bit_rate


@pytest.mark.parametrize("limit", [30.0, 1.0], ids=["whole", "windows"])
def test_a_cut_mp3_keeps_the_bit_rate_of_what_is_left(student, tmp_path, limit):
    source, target = tmp_path / "a.mp3", tmp_path / "b.mp3"
    io.write(source, speech_like(64_000), 16_000, bit_rate=128_000)
    source.write_bytes(source.read_bytes()[:32_000])  # of its 4 s, less than 2
    seconds = dataclasses.replace(student, limit=limit).enhance_file(source, target)
    assert 1.5 < seconds < 2
    assert io.info(target).bit_rate > 128_000


def test_what_libsndfile_only_reads_becomes_the_formats_usual_encoding(student, tmp_path):
    io.write(tmp_path / "a.mp3", speech_like(16_000), 16_000, bit_rate=64_000)
    mp3 = (tmp_path / "a.mp3").read_bytes()
    fields = (b"fmt ", 30, 0x55, 1, 16_000, 8000, 1, 0, 12, 1, 2, 288, 1, 1393)
    header = struct.pack("<4sIHHIIHHHHIHHH", *fields) + struct.pack("<4sII", b"fact", 4, 16_000)
    body = b"WAVE" + header + struct.pack("<4sI", b"data", len(mp3)) + mp3
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert io.info(tmp_path / "a.wav").subtype == "MPEG_LAYER_III"
    student.enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert io.info(tmp_path / "b.wav")[:5] == (16_000, 1, 16_000, "PCM_16", "WAV")


def test_a_flac_from_a_pipe_is_enhanced(student, tmp_path):
    io.write(tmp_path / "a.flac", speech_like(32_000), 16_000)
    content = (tmp_path / "a.flac").read_bytes()
    stream = content[:21] + bytes([content[21] & 0xF0]) + bytes(4) + content[26:]  # declares no length
    (tmp_path / "stream.flac").write_bytes(stream)
    for limit in (30.0, 1.0):
        enhancer = dataclasses.replace(student, limit=limit)
        for name in ("a", "stream"):
            assert enhancer.enhance_file(tmp_path / f"{name}.flac", tmp_path / f"{name}-out.flac") == 2.0
        enhanced = [io.read(tmp_path / f"{name}-out.flac").wave for name in ("a", "stream")]
        np.testing.assert_array_equal(*enhanced)


@pytest.mark.parametrize("limit", [30.0, 1.0], ids=["whole", "windows"])
def test_vorbis_becomes_opus_where_the_suffix_says_so(student, tmp_path, limit):
    enhancer = dataclasses.replace(student, limit=limit)
    io.write(tmp_path / "a.ogg", speech_like(32_000), 16_000)
    enhancer.enhance_file(tmp_path / "a.ogg", tmp_path / "b.opus")
    assert io.info(tmp_path / "b.opus").subtype == "OPUS"
    io.write(tmp_path / "c.ogg", speech_like(32_000), 44_100)
    with pytest.raises(io.AudioError, match=r"cannot hold 1 channel.* at 44100 Hz as OPUS"):
        enhancer.enhance_file(tmp_path / "c.ogg", tmp_path / "d.opus")


def test_opus_stays_opus_in_any_ogg(tmp_path):
    io.write(tmp_path / "a.opus", speech_like(1000), 16_000)
    header = io.info(tmp_path / "a.opus")
    for name in ("b.opus", "b.ogg", "b.oga"):
        assert fitting_subtype(tmp_path / name, header, None) == "OPUS"


@pytest.mark.parametrize(
    ("subtype", "suffix", "expected"),
    [
        ("ALAC_16", ".wav", "PCM_16"),
        ("ALAC_20", ".wav", "PCM_24"),
        ("ALAC_24", ".wav", "PCM_24"),
        ("ALAC_32", ".wav", "PCM_32"),
        ("ALAC_32", ".flac", "PCM_24"),
        ("ALAC_24", ".caf", "ALAC_24"),
        ("ALAC_24", ".mp3", None),
    ],
)
def test_apples_lossless_encoding_keeps_its_depth(tmp_path, subtype, suffix, expected):
    io.write(tmp_path / "a.caf", speech_like(1000), 16_000, subtype)
    assert fitting_subtype(tmp_path / f"b{suffix}", io.info(tmp_path / "a.caf"), None) == expected


@pytest.mark.parametrize("seconds", [1, 40])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_clipped_samples_are_counted_and_told(student, tmp_path, seconds, subtype):
    loud = dataclasses.replace(student, strength=0.0)  # the input as it is
    wave = 0.5 * speech_like(16_000 * seconds)
    wave[5_000:5_020] = 1.5
    wave[100] = -1.0001
    wave[200] = 1.0
    io.write(tmp_path / "in" / "a.wav", wave, 16_000, subtype="FLOAT")
    expected = 0 if subtype == "FLOAT" else 21
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loud.enhance_file(tmp_path / "in" / "a.wav", tmp_path / "out.wav", subtype=subtype)
    told = [str(one.message) for one in caught if "were clipped" in str(one.message)]
    assert len(told) == (expected > 0)
    assert all("out.wav: 21 samples were clipped" in words for words in told)
    (report,) = loud.enhance_folder(tmp_path / "in", tmp_path / "out", subtype=subtype)
    assert report.clipped == expected
    summary = Summary({}, [report])
    assert summary.clipped == expected
    assert ("21 samples of 1 files were clipped" in summary.line(tmp_path)) == (expected > 0)
    summary.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["clipped_samples"] == expected


@pytest.mark.parametrize("seconds", [2, 40])
@pytest.mark.parametrize("gain", [1, 10])
def test_limited_events_are_reported(student, tmp_path, seconds, gain):
    wave = 0.01 * speech_like(16_000 * seconds)
    wave[8_000:8_160] += 0.5 * gain * np.abs(wave).max() * np.hanning(160).astype(np.float32)
    io.write(tmp_path / "in" / "a.wav", wave, 16_000, subtype="FLOAT")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        student.enhance_file(tmp_path / "in" / "a.wav", tmp_path / "out.wav")
    (report,) = student.enhance_folder(tmp_path / "in", tmp_path / "out")
    assert (report.limited > 0) == (gain == 10)
    assert ["were limited" in str(one.message) for one in caught] == [True] * (gain == 10)
    assert ("loud events in 1 files" in Summary({}, [report]).line(tmp_path)) == (gain == 10)
