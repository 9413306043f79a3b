"""rosecd_jax.data.prepared: data sets that are read by many at once, and errors that say what is wrong."""

import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rosecd_jax.audio import io
from rosecd_jax.data.builders import prepare_folder
from rosecd_jax.data.pairs import DataError, PairedFiles
from rosecd_jax.data.prepared import PreparedPairs, find_prepared, open_pairs
from tests.data.recordings import RATE, noise, write_pair


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    """A folder tree, files/, and the data set made of it, data/."""
    folder = tmp_path_factory.mktemp("prepared")
    for number in range(6):
        write_pair(folder / "files" / "train", f"{number}.wav", 9_000 + number)
    write_pair(folder / "files" / "test", "t.wav", 50)
    prepare_folder(folder / "files", folder / "data")
    return folder


@pytest.fixture
def data(master, tmp_path):
    """A data set to spoil, where TFDS puts it."""
    shutil.copytree(master / "data", tmp_path / "data")
    return tmp_path / "data" / "paired_folder" / "1.0.0"


def complaint(path, split="train", rate=RATE) -> str:
    with pytest.raises(DataError) as error:
        PreparedPairs(path, split, rate)
    return str(error.value)


def test_a_data_set_is_found_by_any_folder_above_it(data):
    for path in (data, data.parent, data.parent.parent, str(data)):
        assert len(PreparedPairs(path, "train", RATE)) == 6


def test_indices_are_those_of_a_sequence(master):
    pairs = PreparedPairs(master / "data", "train", RATE)
    assert pairs[-1]["clean"].size == 9_005
    assert pairs[np.int64(2)]["clean"].size == 9_002
    for index in (6, -7):
        with pytest.raises(IndexError):
            pairs[index]


def test_another_process_opens_the_files_anew(master):
    pairs = PreparedPairs(master / "data", "train", RATE)
    unopened = pickle.dumps(pairs)
    expected = [float(pair["noisy"].sum()) for pair in pairs]
    assert pickle.dumps(pairs) == unopened  # open files don't travel
    code = (
        "import pickle, sys; pairs = pickle.load(sys.stdin.buffer); "
        "print(pairs.names, [float(pair['noisy'].sum()) for pair in pairs])"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(pairs), capture_output=True)
    assert done.stdout.decode().strip() == f"{pairs.names} {expected}", done.stderr.decode()


def test_many_threads_read_at_once(master):
    pairs = pickle.loads(pickle.dumps(PreparedPairs(master / "data", "train", RATE)))  # not open yet

    def is_right(index: int) -> bool:
        name = pairs.names[index % 6]
        return np.array_equal(pairs[index % 6]["noisy"], noise(f"noisy{name}", 9_000 + index % 6))

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(is_right, range(600)))


def test_what_was_not_prepared_is_refused(data, tmp_path):
    assert (
        complaint(tmp_path / "nowhere")
        == f"{tmp_path}/nowhere: no prepared data set; make one with `rosecd prepare`"
    )
    assert complaint(data, split="trian") == f"{data}: no split 'trian'; it has test, train"
    assert complaint(data, rate=48_000).startswith(f"{data}: at 16000 Hz, not 48000 Hz")


def test_an_empty_split_is_refused(data):
    metadata = json.loads((data / "metadata.json").read_text())
    metadata["files"]["train"] = {}
    (data / "metadata.json").write_text(json.dumps(metadata))
    assert complaint(data).startswith(f"{data}: the split 'train' is empty")


def test_two_data_sets_in_one_place_have_to_be_told_apart(data):
    shutil.copytree(data, data.with_name("2.0.0"))
    assert complaint(data.parent).startswith(f"{data.parent}: holds several data sets")
    assert len(PreparedPairs(data, "train", RATE)) == 6


@pytest.mark.parametrize("name", ["metadata.json", "dataset_info.json", "features.json"])
@pytest.mark.parametrize("text", ["{", "{}", "[]", "gone"])
def test_a_data_set_of_other_or_damaged_description_is_named(data, name, text):
    (data / name).write_text(text)
    if text == "gone":
        (data / name).unlink()
    place = data.parent.parent
    expected = place if (name, text) == ("dataset_info.json", "gone") else data
    assert complaint(place).startswith(f"{expected}: ")


def test_lost_and_damaged_data_are_named(data):
    (shard,) = data.glob("*train.array_record*")
    whole = shard.read_bytes()
    pairs = PreparedPairs(data, "train", RATE)
    shard.write_bytes(whole[:20_000] + b"damaged" + whole[20_007:])  # in the first of six
    with pytest.raises(DataError, match=rf"{data}: train pair 0\.wav is damaged"):
        pairs[0]
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train pair 5\.wav is damaged"):
        PreparedPairs(data, "train", RATE)[5]
    shard.unlink()
    assert complaint(data) == f"{data}: lacks {shard.name}; delete it and prepare it again"


# Prepared or not


def test_open_pairs_takes_either(master):
    files, prepared = (open_pairs(master / kind, "train", RATE) for kind in ("files", "data"))
    assert isinstance(files, PairedFiles)
    assert isinstance(prepared, PreparedPairs)
    assert files.names == prepared.names
    np.testing.assert_array_equal(files[3]["clean"], prepared[3]["clean"])


def test_open_pairs_says_what_it_looked_for(master, tmp_path):
    with pytest.raises(DataError, match=r"valid: no such folder, and .*files is not a prepared data set"):
        open_pairs(master / "files", "valid", RATE)
    with pytest.raises(DataError, match="no split 'valid'; it has test, train"):
        open_pairs(master / "data", "valid", RATE)
    with pytest.raises(DataError, match="no such folder"):
        open_pairs(tmp_path / "nowhere", "train", RATE)
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="clean: no such folder"):
        open_pairs(tmp_path, "train", RATE)
    io.write(tmp_path / "train" / "clean" / "a.wav", noise("a", 5), 8_000)
    io.write(tmp_path / "train" / "noisy" / "a.wav", noise("a", 5), 8_000)
    with pytest.raises(DataError, match="8000 Hz, not 16000 Hz"):
        open_pairs(tmp_path, "train", RATE)


def test_recordings_below_a_data_set_folder_name_are_no_data_set(master):
    assert find_prepared(master / "files") is None


def test_tfds_is_loaded_only_when_a_data_set_is_opened(master):
    code = (
        "import sys; from rosecd_jax.data.prepared import open_pairs; "
        "open_pairs(sys.argv[1], 'train', 16000)[0]; print('tensorflow_datasets' in sys.modules)"
    )
    for kind, loaded in (("files", "False"), ("data", "True")):
        done = subprocess.run(
            [sys.executable, "-c", code, master / kind], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == loaded
