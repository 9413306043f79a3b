"""rosecd_jax.data.pairs: everything that headers say is checked before a pair is read."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from rosecd_jax.audio import io
from rosecd_jax.data.pairs import DataError, PairedFiles, Pairs, check_pairs, find_pairs
from tests.data.recordings import RATE, noise, write_pair


def complaint(folder, rate=RATE) -> str:
    with pytest.raises(DataError) as error:
        PairedFiles(folder, rate)
    return str(error.value)


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        write_pair(tmp_path, f"{number}.wav", 100 + number)
    return tmp_path


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_pairs_are_read_bit_for_bit(tmp_path, subtype):
    for name, samples in (("b.wav", 50), ("a.wav", 1), ("deep/er/é ü.wav", 70)):
        write_pair(tmp_path, name, samples, subtype=subtype)
    pairs = PairedFiles(tmp_path, RATE)
    assert pairs.names == ["a.wav", "b.wav", "deep/er/é ü.wav"]
    assert len(pairs) == 3
    for index, samples in enumerate((1, 50, 70)):
        for side in ("clean", "noisy"):
            wave = pairs[index][side]
            assert wave.dtype == np.float32
            np.testing.assert_array_equal(wave, noise(side + pairs.names[index], samples, subtype))


def test_every_known_suffix_will_do(tmp_path):
    write_pair(tmp_path, "a.flac", 60)
    write_pair(tmp_path, "b.WAV", 60)
    write_pair(tmp_path, "c.aiff", 60)
    pairs = PairedFiles(tmp_path, RATE)
    assert pairs.names == ["a.flac", "b.WAV", "c.aiff"]
    np.testing.assert_array_equal(pairs[0]["noisy"], noise("noisya.flac", 60))


def test_reverberant_pairs_have_folders_of_their_own(tmp_path):
    write_pair(tmp_path, "a.wav", 60, sides=("anechoic", "reverb"))
    pair = PairedFiles(tmp_path, RATE)[0]
    np.testing.assert_array_equal(pair["clean"], noise("anechoica.wav", 60))
    np.testing.assert_array_equal(pair["noisy"], noise("reverba.wav", 60))


def test_pairs_go_to_other_processes(folder):
    pairs = PairedFiles(folder, RATE)
    copy = pickle.loads(pickle.dumps(pairs))
    assert copy.names == pairs.names
    np.testing.assert_array_equal(copy[2]["noisy"], pairs[2]["noisy"])


def test_many_threads_read_at_once(folder):
    pairs = PairedFiles(folder, RATE)
    with ThreadPoolExecutor(8) as threads:
        lengths = list(threads.map(lambda index: pairs[index % 4]["clean"].size, range(200)))
    assert lengths == [100, 101, 102, 103] * 50


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ([], "clean"),
        (["clean"], "noisy"),
        (["noisy"], "clean"),
        (["anechoic"], "reverb"),
        (["reverb"], "anechoic"),
    ],
)
def test_a_missing_folder_is_named(tmp_path, present, missing):
    for side in present:
        io.write(tmp_path / side / "a.wav", noise("a", 60), RATE)
    assert complaint(tmp_path).startswith(f"{tmp_path / missing}: no such folder")


def test_an_empty_split_is_refused(tmp_path):
    for side in ("clean", "noisy"):
        (tmp_path / side).mkdir()
    (tmp_path / "clean" / "notes.txt").touch()
    assert complaint(tmp_path).startswith(f"{tmp_path / 'clean'}: no audio files")


def test_files_without_a_partner_are_named_on_both_sides(folder):
    (folder / "noisy" / "1.wav").unlink()
    (folder / "clean" / "3.wav").rename(folder / "clean" / "4.wav")
    words = complaint(folder)
    assert words.startswith("3 problems")
    for side, other, name in (("clean", "noisy", 1), ("clean", "noisy", 4), ("noisy", "clean", 3)):
        assert f"{folder / side}/{name}.wav: no partner in {folder / other}" in words
    assert "/0.wav" not in words
    assert "Remedy: give each file a partner" in words


@pytest.mark.parametrize(
    ("wave", "rate", "words", "remedy"),
    [
        (noise("x", 2 * 102).reshape(2, 102), RATE, "2 channels, not mono", "one channel"),
        (noise("x", 102), 8_000, "8000 Hz, not 16000 Hz", "rosecd prepare folder"),
        (noise("x", 99), RATE, "102 samples, its partner 99", "same length"),
    ],
)
def test_a_pair_that_does_not_fit_is_named_with_its_remedy(folder, wave, rate, words, remedy):
    io.write(folder / "noisy" / "2.wav", wave, rate)
    message = complaint(folder)
    assert message.startswith("1 problem with the recordings:\n")
    (told,) = [line for line in message.splitlines() if words in line]
    assert "2.wav" in told
    assert remedy in message.splitlines()[-1]


def test_a_set_at_another_rate_is_refused_though_it_is_in_itself_as_it_should_be(folder):
    words = complaint(folder, 48_000)
    assert words.startswith("8 problems")  # both sides of four pairs
    assert "0.wav: 16000 Hz, not 48000 Hz" in words


def test_what_has_no_readable_header_is_named(folder):
    (folder / "clean" / "0.wav").write_bytes(b"")
    (folder / "noisy" / "1.wav").write_bytes(b"not audio" * 50)
    soundfile.write(folder / "clean" / "2.wav", np.zeros(0), RATE)
    words = complaint(folder)
    assert words.startswith("3 problems")
    assert f"{folder / 'clean' / '0.wav'}: is empty" in words
    assert f"{folder / 'noisy' / '1.wav'}: cannot be read as audio" in words
    assert f"{folder / 'clean' / '2.wav'}: is empty, it holds no samples" in words
    assert "/3.wav" not in words


def test_ten_problems_are_told_and_the_others_counted(tmp_path):
    for number in range(25):
        write_pair(tmp_path, f"{number:02d}.wav", 60, rate=8_000 if number < 13 else RATE)
    lines = complaint(tmp_path).splitlines()
    assert lines[0].startswith("26 problems")
    assert len([line for line in lines if "8000 Hz" in line]) == 10
    assert lines[11] == "  and 16 more"
    assert len(lines) == 13  # the remedy once, though it is that of every file


def test_data_damaged_behind_its_header_is_named_when_it_is_read(tmp_path):
    write_pair(tmp_path, "a.flac", 9_000)
    write_pair(tmp_path, "b.flac", 9_000)
    whole = (tmp_path / "noisy" / "b.flac").read_bytes()
    (tmp_path / "noisy" / "b.flac").write_bytes(whole[:5_000])
    pairs = PairedFiles(tmp_path, RATE)
    assert pairs[0]["noisy"].size == 9_000
    with pytest.raises(DataError, match=r"noisy/b\.flac: cannot be read as audio"):
        pairs[1]


def test_a_file_exchanged_after_the_check_is_named(folder):
    pairs = PairedFiles(folder, RATE)
    io.write(folder / "clean" / "1.wav", noise("x", 55), RATE)
    with pytest.raises(DataError, match=r"clean/1\.wav: 55 samples, its partner 101"):
        pairs[1]


def test_without_a_rate_asked_for_only_partners_have_to_agree(tmp_path):
    write_pair(tmp_path, "a.wav", 60, rate=8_000)
    write_pair(tmp_path, "b.wav", 60, rate=48_000)
    reports = []
    (headers,) = check_pairs([find_pairs(tmp_path)], progress=reports.append)
    assert {name: header[:3] for name, header in headers.items()} == {
        "a.wav": (8_000, 1, 60),
        "b.wav": (48_000, 1, 60),
    }
    assert reports == [0.5, 1.0]
    io.write(tmp_path / "noisy" / "a.wav", noise("x", 60), 16_000)
    with pytest.raises(DataError, match=r"clean/a\.wav: 8000 Hz, its partner 16000 Hz"):
        check_pairs([find_pairs(tmp_path)])


def test_all_sets_are_checked_before_one_is_refused(tmp_path):
    for split in ("train", "test"):
        write_pair(tmp_path / split, "a.wav", 60)
        (tmp_path / split / "noisy" / "a.wav").write_bytes(b"")
    sets = [find_pairs(tmp_path / split) for split in ("train", "test")]
    assert isinstance(sets[0], Pairs)
    with pytest.raises(DataError, match="2 problems") as error:
        check_pairs(sets)
    assert "train/noisy/a.wav" in str(error.value)
    assert "test/noisy/a.wav" in str(error.value)
