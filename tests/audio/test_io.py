"""rosecd_jax.audio.io: real files in, real files out."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rosecd_jax.audio import io, writer


def noise(*shape: int, peak: float = 0.9) -> np.ndarray:
    return np.random.default_rng(0).uniform(-peak, peak, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", None, 2**-16),
        ("a.flac", None, 2**-16),
        ("a.wav", "PCM_U8", 2**-8),
        ("a.wav", "PCM_24", 2**-24),
        ("a.flac", "PCM_24", 2**-24),
        ("a.wav", "FLOAT", 0),
        ("a.wav", "double", 0),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_round_trip_is_exact_to_half_a_quantisation_step(tmp_path, name, subtype, tolerance, channels):
    wave = noise(channels, 1000)
    io.write(tmp_path / name, wave, 44100, subtype)
    audio = io.read(tmp_path / name)
    assert audio.wave.dtype == np.float32
    assert audio.wave.shape == wave.shape
    assert np.abs(audio.wave - wave).max() <= tolerance
    assert audio[1:4] == (44100, (subtype or "PCM_16").upper(), Path(name).suffix[1:].upper())


@pytest.mark.parametrize("suffix", io.FORMATS)
def test_every_suffix_is_written_and_read(tmp_path, suffix):
    wave = np.sin(np.arange(16000) / 20)
    io.write(tmp_path / f"a{suffix.upper()}", wave, 16000)
    audio = io.read(tmp_path / f"a{suffix.upper()}")
    assert (audio.format, audio.sample_rate) == (io.FORMATS[suffix], 16000)
    assert audio.wave.shape[0] == 1
    assert audio.subtype == {
        ".opus": "OPUS",
        ".ogg": "VORBIS",
        ".oga": "VORBIS",
        ".mp3": "MPEG_LAYER_III",
    }.get(suffix, "PCM_16")


@settings(max_examples=30)
@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=50))
def test_samples_on_the_16_bit_grid_survive(tmp_path_factory, integers):
    path = tmp_path_factory.mktemp("grid") / "a.wav"
    wave = np.array(integers, np.float32) / 2**15
    io.write(path, wave, 16000)
    np.testing.assert_array_equal(io.read(path).wave[0], wave)


def test_a_read_file_can_be_written_as_it_was(tmp_path):
    io.write(tmp_path / "a", noise(2, 100), 8000, "PCM_24", "FLAC")  # the format stands in for a suffix
    audio = io.read(tmp_path / "a")
    io.write(tmp_path / "b", *audio)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("suffix", [".wav", ".caf", ".w64", ".au"])
def test_files_of_equal_floats_are_equal_whenever_written(tmp_path, suffix):
    for name in "ab":
        io.write(tmp_path / f"{name}{suffix}", noise(1, 4800), 48000, subtype="FLOAT")
        time.sleep(1.1)  # the format's clock has seconds
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


TAGS = {"title": "Über", "artist": "Me", "album": "All", "date": "2001", "comment": "yes", "genre": "Speech"}


@pytest.mark.parametrize("suffix", io.FORMATS)
def test_tags_are_written_as_far_as_the_format_has_them(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    io.write(path, noise(1, 4800), 48000, tags=TAGS)
    tags = io.read(path).tags
    assert tags == io.info(path).tags
    few = {"AIFF": ("title", "artist", "comment"), "W64": (), "AU": (), "NIST": (), "VOC": ()}
    assert tags == {tag: TAGS[tag] for tag in few.get(io.FORMATS[suffix], TAGS)}


def test_a_tag_that_an_mp3_leaves_empty_is_none(tmp_path):
    io.write(tmp_path / "a.mp3", noise(1, 4800), 48000, tags={"title": "Über"})
    assert io.info(tmp_path / "a.mp3").tags == {"title": "Über"}


def test_neither_the_writing_program_nor_garbled_text_is_a_tag(tmp_path):
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 16000, 1) as file:
        file.software, file.title, file.artist = "a program", "XXXX", "Me"
        file.write(np.zeros(9))
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content.replace(b"XXXX", "Über".encode("latin-1")))
    assert io.info(tmp_path / "a.wav").tags == {"artist": "Me"}


def test_integer_subtypes_clip_and_float_does_not(tmp_path):
    wave = np.array([-3.0, -1.0, 1.0, 3.0])
    for subtype in ("PCM_16", "PCM_24", "PCM_32"):
        io.write(tmp_path / "a.wav", wave, 16000, subtype)
        np.testing.assert_allclose(io.read(tmp_path / "a.wav").wave[0], [-1, -1, 1, 1], atol=2**-15)
    io.write(tmp_path / "a.wav", wave, 16000, "FLOAT")
    np.testing.assert_array_equal(io.read(tmp_path / "a.wav").wave[0], wave)


def test_write_makes_folders_and_respects_the_umask(tmp_path):
    path = tmp_path / "new" / "folder" / "a.wav"
    umask = os.umask(0o027)
    try:
        io.write(path, noise(10), 16000)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_minutes_of_ogg_do_not_crash(tmp_path):
    script = "import sys; from rosecd_jax.audio import io; io.write(sys.argv[1], [0.0] * 9**7, 8000)"
    subprocess.run([sys.executable, "-c", script, tmp_path / "a.ogg"], check=True)
    assert soundfile.info(tmp_path / "a.ogg").frames == 9**7


UNREADABLE = {
    "missing.wav": "no such file",
    "": "is a folder",
    "zero.wav": "is empty, it holds no bytes",
    "text.wav": "cannot be read as audio",
    "text.au": "cannot be read as audio",
    "text.SND": "cannot be read as audio",
    "text.mp3": "cannot be read as audio",
    "headerless.raw": "cannot be read as audio",
    "silent.wav": "is empty, it holds no samples",
}
DAMAGED = {"cut.flac": "cannot be read as audio", "nan.wav": "NaN", "infinite.wav": "infinite"}


@pytest.fixture
def faulty(tmp_path):
    """Write a file for each of UNREADABLE, with invalid headers, and of DAMAGED, with valid ones."""
    (tmp_path / "zero.wav").touch()
    for name in ("text.wav", "text.au", "text.SND", "text.mp3"):
        (tmp_path / name).write_text("not audio " * 100)
    (tmp_path / "headerless.raw").write_bytes(bytes(100))
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan]), 16000, "FLOAT")
    soundfile.write(tmp_path / "infinite.wav", np.array([0, np.inf]), 16000, "FLOAT")
    soundfile.write(tmp_path / "whole.flac", noise(9000), 16000)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:5000])
    return tmp_path


@pytest.mark.parametrize(("name", "complaint"), (UNREADABLE | DAMAGED).items())
def test_read_names_file_and_remedy(faulty, name, complaint):
    with pytest.raises(io.AudioError, match=complaint) as error:
        io.read(faulty / name)
    assert str(error.value).startswith(f"{faulty / name}: ")


def test_a_pipe_is_not_taken_for_a_missing_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for look in (io.read, io.info, io.find):
        with pytest.raises(io.AudioError, match=r"pipe\.wav: is not a regular file"):
            look(tmp_path / "pipe.wav")


@pytest.mark.parametrize("size", [1000, 4000, 9000, io.BLOCK])
def test_a_flac_from_a_pipe_declares_no_length_and_is_read_to_its_end(tmp_path, size):
    whole, stream = tmp_path / "whole.flac", tmp_path / "stream.flac"
    io.write(whole, noise(2, 9000), 16000)
    content = whole.read_bytes()
    stream.write_bytes(content[:21] + bytes([content[21] & 0xF0]) + bytes(4) + content[26:])
    expected = io.read(whole)
    for audio in (io.read(stream), io.decode(stream.read_bytes(), "stream")):
        np.testing.assert_array_equal(audio.wave, expected.wave)
        assert audio[1:] == expected[1:]
    np.testing.assert_array_equal(np.concatenate(list(io.read_blocks(stream, size)), axis=1), expected.wave)
    assert io.info(stream) == io.info(whole)
    stream.write_bytes(stream.read_bytes()[:20_000])
    for read in (io.info, io.read, lambda path: list(io.read_blocks(path, size))):
        with pytest.raises(io.AudioError, match="cannot be read as audio"):
            read(stream)


@pytest.mark.parametrize(("name", "complaint"), UNREADABLE.items())
def test_info_names_file_and_remedy(faulty, name, complaint):
    with pytest.raises(io.AudioError, match=complaint) as error:
        io.info(faulty / name)
    assert str(error.value).startswith(f"{faulty / name}: ")


@pytest.mark.parametrize("name", DAMAGED)
def test_info_does_not_look_behind_the_header(faulty, name):
    assert io.info(faulty / name)[:3] == (16000, 1, 9000 if name == "cut.flac" else 2)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [both for both in (UNREADABLE | DAMAGED).items() if both[0] not in ("", "missing.wav")],
)
def test_decode_refuses_what_read_refuses(faulty, name, complaint):
    with pytest.raises(io.AudioError, match=complaint) as error:
        io.decode((faulty / name).read_bytes(), "archive.zip/member")
    assert str(error.value).startswith("archive.zip/member: ")
    assert "BytesIO" not in str(error.value)


@pytest.mark.parametrize("suffix", io.FORMATS)
def test_info_and_decode_agree_with_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    io.write(path, noise(2, 4800), 48000)
    audio = io.read(path)
    decoded = io.decode(path.read_bytes(), "a")
    np.testing.assert_array_equal(decoded.wave, audio.wave)
    assert decoded[1:] == audio[1:]
    assert io.info(path) == io.AudioInfo(48000, *audio.wave.shape, *audio[2:])


@pytest.mark.parametrize(
    ("name", "wave", "sample_rate", "options", "complaint"),
    [
        ("a.xyz", noise(9), 16000, {}, "unknown suffix"),
        ("a", noise(9), 16000, {}, "unknown suffix"),
        ("a.wav", noise(9), 16000, {"format": "BANANA"}, "BANANA"),
        ("a.flac", noise(9), 16000, {"subtype": "FLOAT"}, "FLAC and subtype FLOAT"),
        ("a.wav", np.array([0, np.nan]), 16000, {}, "NaN"),
        ("a.wav", np.array([0, np.inf]), 16000, {"subtype": "FLOAT"}, "infinite"),
        ("a.wav", np.array([1, 2]), 16000, {}, "floats"),
        ("a.wav", noise(0), 16000, {}, "shape"),
        ("a.wav", noise(1, 2, 3), 16000, {}, "shape"),
        ("a.wav", np.float32(1), 16000, {}, "shape"),
        ("a.wav", noise(9), 0, {}, "0 Hz"),
        ("a.opus", noise(9), 44100, {}, "44100 Hz"),
        ("a.flac", noise(20, 9), 16000, {}, "20 channel"),  # FLAC holds eight
        ("a.voc", noise(9), 16000, {"subtype": "PCM_U8"}, "at 16000 Hz as PCM_U8 .*16129 Hz"),
        ("a.voc", noise(2, 9), 44100, {"subtype": "PCM_U8"}, "at 44100 Hz as PCM_U8 .*44107 Hz"),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_failing_write_changes_nothing(tmp_path, name, wave, sample_rate, options, complaint, exists):
    path = tmp_path / name
    if exists:
        path.write_bytes(b"precious")
    with pytest.raises(io.AudioError, match=complaint) as error:
        io.write(path, wave, sample_rate, **options)
    assert str(path) in str(error.value)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"precious"] * exists


def test_a_write_that_fails_at_the_last_moment_leaves_no_temporary_file(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "file").touch()
    for target in ("folder.wav", "file/a.wav"):
        with pytest.raises(io.AudioError, match=r"cannot be written"):
            io.write(tmp_path / target, noise(9), 16000)
    with pytest.raises(TypeError):  # not an audio error, cleaned up all the same
        io.write(tmp_path / "a.wav", noise(9), "16000")  # pyright: ignore[reportArgumentType]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.wav"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_a_full_disk_keeps_the_old_file(tmp_path, suffix):
    pytest.importorskip("resource", reason="needs a POSIX system")
    script = (  # a limit on the size of files acts as a full disk does
        "import resource, signal, sys, numpy; from rosecd_jax.audio import io\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "wave = numpy.random.default_rng(0).standard_normal(1_000_000) / 10\n"
        "try: io.write(sys.argv[1], wave, 16000)\n"
        "except io.AudioError: sys.exit(7)\n"
    )
    path = tmp_path / f"a{suffix}"
    io.write(path, noise(9), 16000)
    before = path.read_bytes()
    assert subprocess.run([sys.executable, "-c", script, path]).returncode == 7
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_blocks_are_the_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    io.write(path, noise(2, 10_007), 48000)
    blocks = list(io.read_blocks(path, 1000))
    assert [block.shape[1] for block in blocks] == [1000] * 10 + [7]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), io.read(path).wave)


@pytest.mark.parametrize(("name", "complaint"), (UNREADABLE | DAMAGED).items())
def test_blocks_are_refused_as_the_whole_is(faulty, name, complaint):
    with pytest.raises(io.AudioError, match=complaint) as error:
        list(io.read_blocks(faulty / name, 100))
    assert str(error.value).startswith(f"{faulty / name}: ")


@pytest.mark.parametrize("name", ["nan.wav", "infinite.wav"])
@pytest.mark.parametrize("read", [io.read, lambda path: list(io.read_blocks(path, 100))])
def test_samples_that_are_no_numbers_are_told_once(faulty, name, read):
    with pytest.raises(io.AudioError) as error:
        read(faulty / name)
    words = "holds NaN or infinite samples; export it again from its source"
    assert str(error.value) == f"{faulty / name}: {words}"


@pytest.mark.parametrize("suffix", io.FORMATS)
def test_a_file_written_in_blocks_is_the_file_written_at_once(tmp_path, suffix):
    wave = noise(2, 20_000)
    io.write(tmp_path / f"whole{suffix}", wave, 48000)
    with io.writing(tmp_path / f"blocks{suffix}", 48000, 2) as put:
        for start in range(0, 20_000, 777):
            put(wave[:, start : start + 777])
        assert not (tmp_path / f"blocks{suffix}").exists()
    whole, blocks = (io.read(tmp_path / f"{name}{suffix}").wave for name in ("whole", "blocks"))
    np.testing.assert_array_equal(whole, blocks)


def test_a_writer_that_is_interrupted_leaves_nothing(tmp_path):
    def write():
        with io.writing(tmp_path / "a.wav", 16000, 1) as put:
            put(noise(1, 100_000))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert not list(tmp_path.iterdir())


def test_a_killed_writers_leftovers_are_found_by_name(tmp_path):
    script = (
        "import os, signal, sys, numpy; from rosecd_jax.audio import io\n"
        "with io.writing(sys.argv[1], 16000, 1) as put:\n"
        "    put(numpy.zeros((1, 9))); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "a.wav"])
    assert len(list(tmp_path.iterdir())) == 1
    io.remove_leftovers([tmp_path / "b.wav", tmp_path / "a.wa"])
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(io.AudioError, match="no audio files"):
        io.find(tmp_path)
    io.remove_leftovers([tmp_path / "b.wav", tmp_path / "a.wav"])
    assert not list(tmp_path.iterdir())
    io.remove_leftovers([tmp_path / "no such folder" / "a.wav"])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file systems refuse such names")
def test_a_name_that_is_not_utf_8_is_read_and_written(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    io.write(path, np.zeros(9), 16_000)
    assert [os.fsencode(file.name) for file in tmp_path.iterdir()] == [b"caf\xe9.wav"]
    assert io.info(path).samples == io.read(path).wave.size == 9


def test_a_name_of_the_greatest_length_is_written(tmp_path):
    name = "ä" * 125 + ".wav"  # 254 bytes of 255
    io.write(tmp_path / name, noise(9), 16000)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_wav_that_outgrows_its_header_is_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "LARGEST_WAV", 100)
    io.write(tmp_path / "short.wav", noise(50), 16000)
    io.write(tmp_path / "long.wav", noise(51), 16000)
    assert [io.info(tmp_path / f"{name}.wav").format for name in ("short", "long")] == ["WAV", "RF64"]


def test_importing_is_light():
    script = "import sys, rosecd_jax.audio.io; sys.exit('soundfile' in sys.modules or 'soxr' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "PCM_16"])
@pytest.mark.parametrize("suffix", ["wav", "caf"])
def test_equal_samples_make_equal_files_at_any_time(tmp_path, suffix, subtype):
    wave = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    files = [tmp_path / f"{name}.{suffix}" for name in ("one", "other")]
    for file in files:
        io.write(file, wave, 16_000, subtype=subtype)
        time.sleep(1.1 if file is files[0] else 0)  # what would be noted has whole seconds
    assert files[0].read_bytes() == files[1].read_bytes()


def test_clipped_samples_are_counted(tmp_path):
    wave = np.array([0.5, 1.0, -1.0, 1.5, -2.0, 0.0])
    assert io.write(tmp_path / "a.wav", wave, 16_000) == 2
    assert io.write(tmp_path / "b.wav", wave, 16_000, subtype="FLOAT") == 0
    assert io.write(tmp_path / "c.ogg", np.stack([wave, wave]), 16_000) == 4
