"""rosecd_jax.data.builders: recordings as published -> a data set, whole or not at all."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from typer.testing import CliRunner

from rosecd_jax.audio import io
from rosecd_jax.cli import app
from rosecd_jax.data import builders
from rosecd_jax.data.builders import PairedFolder, VoiceBankDemand, prepare_folder, prepare_voicebank
from rosecd_jax.data.pairs import DataError, PairedFiles, SplitSummary
from rosecd_jax.data.prepared import PreparedPairs, find_prepared, open_pairs
from tests.data.recordings import RATE, STEMS, noise, write_pair, zip_up

VBDMD = Path(__file__).parents[3] / "shared" / "data" / "vbdmd"


def content(path: Path, rate: int = RATE) -> dict[str, dict[str, dict[str, bytes]]]:
    """Everything in a prepared data set."""
    directory = find_prepared(path)
    assert directory
    splits = list(tfds.builder_from_directory(directory).info.splits)
    pairs = {split: PreparedPairs(path, split, rate) for split in splits}
    return {
        split: {
            name: {side: wave.tobytes() for side, wave in data[index].items()}
            for index, name in enumerate(data.names)
        }
        for split, data in pairs.items()
    }


def leftovers(path: Path) -> list[str]:
    return [file.name for file in path.rglob("*") if file.name.startswith("incomplete.")]


# What comes out


def test_a_prepared_folder_holds_its_files_bit_for_bit_and_in_their_order(tree, tmp_path):
    summary = prepare_folder(tree, tmp_path / "out")
    assert list(summary) == ["my-test_2", "train"]
    assert summary["train"].files == 5
    assert summary["train"].seconds == pytest.approx((4 * 20_000 - 600 + 300) / RATE)
    assert summary["my-test_2"] == SplitSummary(1, 1 / RATE)
    for split in summary:
        files, prepared = PairedFiles(tree / split, RATE), PreparedPairs(tmp_path / "out", split, RATE)
        assert prepared.names == files.names
        assert len(prepared) == len(files)
        for theirs, ours in zip(files, prepared, strict=True):
            assert theirs.keys() == ours.keys()
            for side, wave in ours.items():
                assert wave.dtype == np.float32
                assert wave.flags.writeable
                np.testing.assert_array_equal(wave, theirs[side])


def test_shards_keep_the_order(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(builders, "SHARD_BYTES", 200_000)  # a recording has up to 160 000
    prepare_folder(tree, tmp_path / "out")
    assert len(list(tmp_path.glob("out/*/*/*train.array_record*"))) > 2
    files, prepared = PairedFiles(tree / "train", RATE), PreparedPairs(tmp_path / "out", "train", RATE)
    for theirs, ours in zip(files, prepared, strict=True):
        np.testing.assert_array_equal(ours["noisy"], theirs["noisy"])


def test_reverberant_pairs(tmp_path):
    write_pair(tmp_path / "source" / "train", "a.wav", 60, sides=("anechoic", "reverb"))
    prepare_folder(tmp_path / "source", tmp_path / "out")
    pair = PreparedPairs(tmp_path / "out", "train", RATE)[0]
    np.testing.assert_array_equal(pair["clean"], noise("anechoica.wav", 60))
    np.testing.assert_array_equal(pair["noisy"], noise("reverba.wav", 60))


def test_other_rates_are_resampled(tmp_path):
    write_pair(tmp_path / "source" / "train", "a.wav", 4_410, rate=44_100)
    write_pair(tmp_path / "source" / "train", "b.wav", 800, rate=8_000)
    summary = prepare_folder(tmp_path / "source", tmp_path / "out", sample_rate=8_000)
    assert summary["train"] == SplitSummary(2, pytest.approx(0.2))
    pairs = PreparedPairs(tmp_path / "out", "train", 8_000)
    expected = io.resample(noise("noisya.wav", 4_410), 44_100, 8_000)
    np.testing.assert_array_equal(pairs[0]["noisy"], expected)
    np.testing.assert_array_equal(pairs[1]["noisy"], noise("noisyb.wav", 800))


def test_voicebank_is_split_by_speakers_and_brought_to_16_khz(voicebank, tmp_path):
    source, names = voicebank
    reports = []
    summary = prepare_voicebank(source, tmp_path, lambda *report: reports.append(report))
    assert list(summary) == ["train", "valid", "test"]
    for split, expected in names.items():
        pairs = PreparedPairs(tmp_path, split, RATE)
        assert pairs.names == expected
        assert summary[split].files == len(expected)
        assert [part for what, part in reports if what == split][-1] == 1
    assert summary["test"].seconds == pytest.approx(6_100 / 48_000)
    assert [part for what, part in reports if what == "checking"] == [k / 8 for k in range(1, 9)]
    resampled = io.resample(noise(f"{STEMS[1]}p226_002.wav", 3_100), 48_000, RATE)
    np.testing.assert_array_equal(PreparedPairs(tmp_path, "valid", RATE)[1]["noisy"], resampled)


@pytest.mark.parametrize("top", [True, False])
def test_archives_and_folders_give_equal_data_sets(voicebank, tmp_path, top):
    source, _ = voicebank
    for stem in STEMS:
        zip_up(source / stem, tmp_path / "zips", top=f"{stem}/" if top else "", junk=True)
    (tmp_path / "zips" / STEMS[0]).mkdir()  # unpacking has only begun: the archive counts
    prepare_voicebank(tmp_path / "zips", tmp_path / "zipped")
    prepare_voicebank(source, tmp_path / "unpacked")
    assert content(tmp_path / "zipped") == content(tmp_path / "unpacked")


def test_tfds_alone_can_prepare_and_read(voicebank, tmp_path):
    source, names = voicebank
    builder = VoiceBankDemand(data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=source))
    examples = builder.as_data_source("test")
    assert [example["name"].decode() for example in examples] == names["test"]
    assert examples[0]["clean"].shape == (1_000,)
    assert len(PreparedPairs(tmp_path, "test", RATE)) == 2


@pytest.mark.skipif(not VBDMD.is_dir(), reason=f"needs the recordings in {VBDMD}")
def test_real_recordings(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train").symlink_to(VBDMD / "train")
    assert prepare_folder(tmp_path / "source", tmp_path / "out")["train"].files == 6
    files = open_pairs(tmp_path / "source", "train", RATE)
    prepared = open_pairs(tmp_path / "out", "train", RATE)
    assert isinstance(files, PairedFiles)
    assert isinstance(prepared, PreparedPairs)
    assert files.names == prepared.names
    for theirs, ours in zip(files, prepared, strict=True):
        assert np.abs(ours["noisy"]).max() > 0.01
        for side in ("clean", "noisy"):
            np.testing.assert_array_equal(ours[side], theirs[side])


WITHOUT_TENSORFLOW = """
import sys
from tensorflow_datasets.core import shuffle
shuffle.MAX_MEM_BUFFER_SIZE = 0  # from which on TFDS's own shuffling opens files by TensorFlow
from rosecd_jax.data.builders import prepare_folder
from rosecd_jax.data.prepared import PreparedPairs
prepare_folder(sys.argv[1], sys.argv[2])
pairs = PreparedPairs(sys.argv[2], "train", 16000)
assert sum(pair["noisy"].size for pair in pairs) > 70000
print(sorted({"tensorflow", "torch"} & set(sys.modules)))
"""


def test_neither_tensorflow_nor_torch_is_loaded_and_nothing_printed(tree, tmp_path):
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, tree, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


# Interrupted, and again


def test_data_damaged_behind_its_header_is_named_and_no_data_set_is_left(tree, tmp_path):
    whole = (tree / "train" / "clean" / "c.flac").read_bytes()
    (tree / "train" / "clean" / "c.flac").write_bytes(whole[:9_000])
    with pytest.raises(DataError, match=r"clean/c\.flac: cannot be read as audio"):
        prepare_folder(tree, tmp_path / "out")
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert not leftovers(tmp_path)
    (tree / "train" / "clean" / "c.flac").write_bytes(whole)
    assert prepare_folder(tree, tmp_path / "out")["train"].files == 5


STOP_AT = """
import sys, time
from rosecd_jax.data.builders import prepare_folder
def progress(what, part):
    if f"{what} {part}" == sys.argv[3]:
        print("there", flush=True)
        time.sleep(60)
prepare_folder(sys.argv[1], sys.argv[2], progress=progress)
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["checking 1.0", "my-test_2 1.0", "train 0.8"])
def test_a_killed_preparation_leaves_no_data_set_and_can_be_started_again(tree, tmp_path, moment):
    out = tmp_path / "out"
    command = [sys.executable, "-c", STOP_AT, tree, out, moment]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "there\n"
        process.kill()
    assert process.returncode == -9
    assert bool(leftovers(tmp_path)) == (moment != "checking 1.0")
    with pytest.raises(DataError, match="no such folder"):
        open_pairs(out, "train", RATE)
    with pytest.raises(DataError, match="no prepared data set"):
        PreparedPairs(out, "train", RATE)

    prepare_folder(tree, out)
    assert not leftovers(tmp_path)
    prepare_folder(tree, tmp_path / "at once")
    assert content(out) == content(tmp_path / "at once")


def test_a_data_set_that_was_all_but_finished_is_not_taken_for_one(tree, tmp_path):
    prepare_folder(tree, tmp_path / "out")
    finished = find_prepared(tmp_path / "out")
    assert finished
    unfinished = finished.rename(finished.with_name("incomplete.ABC123_1.0.0"))
    assert (unfinished / "dataset_info.json").exists()
    for path in (tmp_path / "out", unfinished.parent, unfinished):
        with pytest.raises(DataError, match="no prepared data set"):
            PreparedPairs(path, "train", RATE)
    prepare_folder(tree, tmp_path / "out")
    assert not leftovers(tmp_path)
    assert len(PreparedPairs(tmp_path / "out", "train", RATE)) == 5


def test_a_finished_data_set_is_left_as_it_is_and_reported(tree, tmp_path):
    first = prepare_folder(tree, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    reports = []
    assert prepare_folder(tree, tmp_path / "out", progress=lambda what, part: reports.append(what)) == first
    assert set(reports) == {"checking"}
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


def test_another_data_set_in_the_same_place_is_refused_by_name(tree, voicebank, tmp_path):
    out = tmp_path / "out"
    prepare_folder(tree, out)
    before = content(out)
    shutil.copytree(tree, tmp_path / "copy")
    for again in (
        lambda: prepare_folder(tmp_path / "copy", out),
        lambda: prepare_folder(tree, out, sample_rate=8_000),
        lambda: prepare_voicebank(voicebank[0], out),
    ):
        with pytest.raises(FileExistsError, match=f"made from {tree} at 16000 Hz; choose another folder"):
            again()
    noisy = tree / "train" / "noisy"
    recording = next(noisy.rglob("*.wav"))
    os.utime(recording, (time.time() + 10,) * 2)
    with pytest.raises(FileExistsError, match=f"is older than {recording}: delete it"):
        prepare_folder(tree, out)
    os.utime(recording, (0, 0))
    write_pair(tree / "train", "more.wav", 50)
    with pytest.raises(FileExistsError, match=f"that {tree} no longer holds"):
        prepare_folder(tree, out)
    assert content(out) == before


@pytest.mark.slow
def test_two_processes_do_not_prepare_in_one_place(tree, tmp_path):
    home = Path(PairedFolder(data_dir=tmp_path / "out").data_dir).parent
    home.mkdir(parents=True)
    (home / "incomplete.ABC123_1.0.0").mkdir()  # the other's
    other = os.open(home, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="another process"):
        prepare_folder(tree, tmp_path / "out")
    assert leftovers(tmp_path)
    os.close(other)
    prepare_folder(tree, tmp_path / "out")
    assert not leftovers(tmp_path)


FULL_DISK = """
import resource, signal, sys
from rosecd_jax.data.builders import prepare_folder
from rosecd_jax.data.pairs import DataError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # acts as a full disk does
try: prepare_folder(sys.argv[1], sys.argv[2])
except DataError as error: print(error)
"""


@pytest.mark.slow
def test_a_full_disk_leaves_no_data_set(tree, tmp_path):
    command = [sys.executable, "-c", FULL_DISK, tree, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert find_prepared(tmp_path / "out") is None
    assert not leftovers(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tree, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"{tmp_path / 'file'}.*cannot be written"):
        prepare_folder(tree, tmp_path / "file")


# The command


def rosecd(*arguments: object):
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)])


def test_the_commands_prepare_and_say_what_there_is(tree, voicebank, tmp_path):
    for _ in range(2):  # the second time it is there already
        done = rosecd("folder", tree, tmp_path / "folder", "--sample-rate", 8_000)
        assert (done.exit_code, done.stderr.strip()) == (0, "")
        assert f"{tmp_path / 'folder'}, train: 5 pairs, 0.1 minutes" in done.stdout
    assert PreparedPairs(tmp_path / "folder", "train", 8_000).names[0] == "b.wav"
    done = rosecd("voicebank", voicebank[0], tmp_path / "voicebank")
    assert done.exit_code == 0
    told = [line.rpartition(", ")[0] for line in done.stdout.splitlines()]
    assert told == [
        f"{tmp_path / 'voicebank'}, {split}: {n} pairs"
        for split, n in (("train", 3), ("valid", 3), ("test", 2))
    ]


def test_the_commands_say_what_is_wrong_and_exit_with_1(tree, tmp_path):
    (tree / "train" / "clean" / "b.wav").unlink()
    done = rosecd("folder", tree, tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.strip().splitlines()[0] == "rosecd: 1 problem with the recordings:"
    assert "noisy/b.wav: no partner" in done.stderr
    done = rosecd("voicebank", tree, tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.strip().startswith(f"rosecd: {tree}: holds no {STEMS[0]}.zip, ")
    write_pair(tree / "train", "b.wav", 20)
    assert rosecd("folder", tree, tmp_path / "out").exit_code == 0
    done = rosecd("folder", tree, tmp_path / "out", "--sample-rate", 8_000)
    assert done.exit_code == 1
    assert "choose another folder" in done.stderr
    assert rosecd("folder", tree, tmp_path / "out", "--sample-rate", 0).exit_code == 2
