"""rosecd_jax.data.sources: what a data set can't be made of is named, and nothing is written."""

import shutil
import zipfile
from pathlib import Path

import pytest

from rosecd_jax.audio import io
from rosecd_jax.data.builders import prepare_folder, prepare_voicebank
from rosecd_jax.data.pairs import DataError
from tests.data.recordings import RATE, STEMS, noise, zip_up


def refused(source: Path, out: Path, prepare=prepare_folder) -> str:
    """What is complained of; nothing may have been written."""
    with pytest.raises(DataError) as error:
        prepare(source, out)
    assert not out.exists()
    return str(error.value)


def test_pairs_are_checked_before_anything_is_written(tree, tmp_path):
    io.write(tree / "train" / "noisy" / "b.wav", noise("x", 99), RATE)
    io.write(tree / "train" / "noisy" / "c.flac", noise("x", 2 * 19_700).reshape(2, -1), RATE)
    io.write(tree / "my-test_2" / "noisy" / "one.wav", noise("x", 1), 8_000)
    io.write(tree / "my-test_2" / "noisy" / "two.wav", noise("x", 1), RATE)
    words = refused(tree, tmp_path / "out")
    assert words.startswith("4 problems")
    for problem in (
        "20000 samples, its partner 99",
        "2 channels",
        "16000 Hz, its partner 8000 Hz",
        "no partner",
    ):
        assert problem in words


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no folders of pairs"),
        (["clean/a.wav", "noisy/a.wav"], "holds no folders of pairs"),  # no split
        (["train/clean/a.wav"], "noisy: no such folder"),
        (["all/clean/a.wav", "all/noisy/a.wav"], "not a name for a split"),
        (["a split/clean/a.wav", "a split/noisy/a.wav"], "not a name for a split"),
        (["train/clean/a.txt", "train/noisy/a.txt"], "no audio files"),
    ],
)
def test_a_tree_without_splits_is_refused(tmp_path, names, words):
    for name in names:
        (tmp_path / "source" / name).parent.mkdir(parents=True)
        (tmp_path / "source" / name).touch()
    assert words in refused(tmp_path / "source", tmp_path / "out")


def test_missing_parts_of_voicebank_are_named(voicebank, tmp_path):
    words = refused(tmp_path / "nowhere", tmp_path / "out", prepare_voicebank)
    assert all(f"{stem}.zip" in words for stem in STEMS)
    zip_up(voicebank[0] / STEMS[0], tmp_path / "part")
    shutil.copytree(voicebank[0] / STEMS[3], tmp_path / "part" / STEMS[3])
    words = refused(tmp_path / "part", tmp_path / "out", prepare_voicebank)
    assert [stem for stem in STEMS if f"{stem}.zip" in words] == [STEMS[1], STEMS[2]]


@pytest.mark.parametrize(("kept", "split"), [("p226", "train"), ("p228", "valid")])
def test_a_training_set_without_its_validation_speakers_or_with_them_only(voicebank, tmp_path, kept, split):
    shutil.copytree(voicebank[0], tmp_path / "source")
    for stem in STEMS[:2]:
        for file in (tmp_path / "source" / stem).glob("*.wav"):
            if not file.name.startswith(kept):
                file.unlink()
    assert f"no {split} split" in refused(tmp_path / "source", tmp_path / "out", prepare_voicebank)


@pytest.fixture
def zips(voicebank, tmp_path) -> Path:
    for stem in STEMS:
        zip_up(voicebank[0] / stem, tmp_path / "zips")
    return tmp_path / "zips"


def test_a_damaged_archive_is_named(zips, tmp_path):
    archive = zips / f"{STEMS[1]}.zip"
    whole = archive.read_bytes()
    with zipfile.ZipFile(archive) as members:
        inside = members.getinfo("p227_001.wav").header_offset + 1_000
    archive.write_bytes(whole[:-500])  # a download cut short
    assert f"{archive}: cannot be opened" in refused(zips, tmp_path / "out", prepare_voicebank)
    archive.write_bytes(whole[:inside] + bytes(20) + whole[inside + 20 :])
    words = refused(zips, tmp_path / "out", prepare_voicebank)
    assert words.startswith("1 problem ")
    assert f"{archive}/p227_001.wav: cannot be unpacked" in words


def test_archives_are_checked_as_folders_are(voicebank, zips, tmp_path):
    shutil.copytree(voicebank[0] / STEMS[2], tmp_path / STEMS[2])
    io.write(tmp_path / STEMS[2] / "p232_001.wav", noise("x", 5), 48_000)
    (tmp_path / STEMS[2] / "p257_002.wav").unlink()
    zip_up(tmp_path / STEMS[2], zips)
    words = refused(zips, tmp_path / "out", prepare_voicebank)
    assert f"{zips / STEMS[2]}.zip/p232_001.wav: 5 samples, its partner 3000" in words
    assert f"{zips / STEMS[3]}.zip/p257_002.wav: no partner in {zips / STEMS[2]}.zip" in words


def test_an_archive_without_recordings_is_refused(zips, tmp_path):
    (tmp_path / STEMS[2]).mkdir()
    zip_up(tmp_path / STEMS[2], zips, junk=True)
    assert f"{STEMS[2]}.zip: no audio files" in refused(zips, tmp_path / "out", prepare_voicebank)
