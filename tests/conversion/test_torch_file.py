"""rosecd_jax.conversion.torch_file: what PyTorch wrote is read, what we write PyTorch reads."""

import os
import struct
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

from rosecd_jax.conversion.torch_file import (
    Placeholder,
    TorchFileError,
    TorchTensor,
    read_torch_file,
    write_torch_file,
)
from tests.helpers import FIXTURES

WRITTEN = FIXTURES / "torch_written.pt"
GRID = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture(scope="module")
def written():
    """Made by fixtures/make_torch_fixture.py with PyTorch 2.13."""
    return read_torch_file(WRITTEN)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grid", GRID),
        ("transposed", GRID.transpose(2, 0, 1)),
        ("tail", [20, 21, 22, 23]),
        ("every_fifth", [1, 6, 11, 16, 21]),
        ("expanded", np.full((3, 2), 7)),
        ("empty", np.zeros((0, 5))),
        ("scalar", 2.5),
        ("parameter", [1, 2]),
    ],
)
def test_views_of_a_storage(written, name, expected):
    expected = np.asarray(expected, np.float32)
    assert isinstance(written[name], TorchTensor)
    assert written[name].shape == expected.shape
    assert written[name].size == expected.size
    assert written[name].dtype == np.float32
    np.testing.assert_array_equal(written[name].read(), expected)
    np.testing.assert_array_equal(np.asarray(written[name]), expected)


def test_every_dtype(written):
    assert len(written["dtypes"]) == 14
    for name, tensor in written["dtypes"].items():
        array = tensor.read()
        assert array.dtype.name == name
        expected = [0, 1, 1] if name == "bool" else [0, 1, 3]
        np.testing.assert_array_equal(array.astype(np.complex128), expected)


def test_plain_values(written):
    plain = [1, -1, 2**40, -(2**70), 1.5, True, None, "text ü", b"bytes", (1, (2, 3)), 1 + 2j]
    assert written["plain"] == plain
    assert [type(value) for value in written["plain"]] == [type(value) for value in plain]
    assert written["containers"] == [{1, 2}, frozenset([3]), bytearray(b"ab"), {"a": 2, "b": 1}]
    assert written["default"] == {"a": [1]}
    assert written["itself"] is written["default"]
    assert written["size"] == (2, 3)
    assert written["device"] == "cuda:1"
    assert written["dtype"] == np.float16
    assert written["numpy"] == 0.25
    assert list(written["state"]) == ["weight", "bias"]


def test_classes_and_unknown_objects_are_inert(written):
    assert isinstance(written["class"], Placeholder)
    assert (written["class"].name, written["class"].args) == ("collections.Counter", None)
    assert written["function"].name == "torch.nn.functional.relu"
    assert written["range"].args == (0, 3, 1)


def rewritten(target, change, compression=zipfile.ZIP_STORED):
    """A copy of the fixture whose members went through `change(name, data)`."""
    with zipfile.ZipFile(WRITTEN) as source, zipfile.ZipFile(target, "w", compression) as copy:
        for name in source.namelist():
            copy.writestr(name, change(name, source.read(name)))
    return target


def test_a_compressed_archive_gives_the_same(written, tmp_path):
    path = rewritten(tmp_path / "deflated.pt", lambda _, data: data, zipfile.ZIP_DEFLATED)
    again = read_torch_file(path)
    for name in ("grid", "transposed", "tail", "expanded", "empty"):
        np.testing.assert_array_equal(again[name].read(), written[name].read())


def test_big_endian_numbers(tmp_path):
    def swapped(name, data):
        if name.endswith("byteorder"):
            return b"big"
        return np.frombuffer(data, "<f4").astype(">f4").tobytes() if name.endswith("data/0") else data

    path = rewritten(tmp_path / "big.pt", swapped)
    np.testing.assert_array_equal(read_torch_file(path)["transposed"].read(), GRID.transpose(2, 0, 1))


def test_big_endian_complex_numbers(tmp_path):
    values = np.array([1 + 2j, -3j], np.complex64)
    write_torch_file(tmp_path / "little.pt", {"x": values})
    with zipfile.ZipFile(tmp_path / "little.pt") as source, zipfile.ZipFile(tmp_path / "big.pt", "w") as copy:
        for name in source.namelist():
            swap = {"archive/byteorder": b"big", "archive/data/0": values.astype(">c8").tobytes()}
            copy.writestr(name, swap.get(name, source.read(name)))
    np.testing.assert_array_equal(read_torch_file(tmp_path / "big.pt")["x"].read(), values)


def test_a_damaged_number_is_noticed_when_it_is_read(tmp_path):
    path = tmp_path / "damaged.pt"
    write_torch_file(path, {"good": np.zeros(3), "bad": np.full(5, 1.25)})
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<d", 1.25), struct.pack("<d", 1.5), 1))
    tree = read_torch_file(path)
    assert not tree["good"].read().any()
    with pytest.raises(TorchFileError, match=r"damaged.pt: archive/data/1 is damaged"):
        tree["bad"].read()


def test_a_file_that_changes_after_it_was_opened(tmp_path):
    path = tmp_path / "x.pt"
    write_torch_file(path, {"x": np.zeros(3)})
    tensor = read_torch_file(path)["x"]
    write_torch_file(path, {"x": np.zeros(300)})
    with pytest.raises(TorchFileError, match="changed"):
        tensor.read()
    path.unlink()
    with pytest.raises(TorchFileError, match=r"x\.pt"):
        tensor.read()


def test_tensors_are_read_one_by_one_and_stay_writable(written):
    first, second = written["grid"].read(), written["grid"].read()
    first[:] = 0
    np.testing.assert_array_equal(second, GRID)


def test_what_is_no_file(tmp_path):
    with pytest.raises(TorchFileError, match=r"nowhere\.pt can't be read: No such file"):
        read_torch_file(tmp_path / "nowhere.pt")
    with pytest.raises(TorchFileError, match="is not a file"):
        read_torch_file(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TorchFileError, match="is not a file"):
        read_torch_file(tmp_path / "pipe")


TREE = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "swapped": np.arange(3, dtype=">i4"),
    "ordered": OrderedDict(x=np.zeros((0, 3)), y=np.array(3)),
    "values": [1, -5, 2**40, -(2**90), 1.5, "ü", None, True, False, (1, (2,)), [], {}, np.float32(0.5)],
    5: np.array([True, False]),
    "dtypes": [
        np.ones(3, dtype)
        for dtype in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "c8", "c16", ml_dtypes.bfloat16)
    ],
}


def compare(found, expected):
    if isinstance(expected, np.ndarray):
        array = found.read() if isinstance(found, TorchTensor) else found
        assert array.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(array, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            compare(found[key], value)
    elif isinstance(expected, (list, tuple)):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for left, right in zip(found, expected, strict=True):
            compare(left, right)
    else:
        assert found == expected
        assert isinstance(expected, np.generic) or type(found) is type(expected)


def test_what_is_written_is_read(tmp_path):
    assert write_torch_file(tmp_path / "new" / "x.pt", TREE) == tmp_path / "new" / "x.pt"
    compare(read_torch_file(tmp_path / "new" / "x.pt"), TREE)
    assert os.listdir(tmp_path / "new") == ["x.pt"]


def test_members_are_stored_and_aligned_as_pytorch_does(tmp_path):
    path = write_torch_file(tmp_path / "x.pt", TREE)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[0] == "archive/data.pkl"
        assert {"archive/version", "archive/byteorder", "archive/data/0"} <= set(names)
        for member in archive.infolist():
            lengths = struct.unpack_from("<HH", data, member.header_offset + 26)
            assert (member.header_offset + 30 + sum(lengths)) % 64 == 0
            assert member.compress_type == zipfile.ZIP_STORED


def test_pytorch_reads_it_with_weights_only(tmp_path):
    torch = pytest.importorskip("torch")
    tree = torch.load(write_torch_file(tmp_path / "x.pt", TREE), weights_only=True)
    assert type(tree["ordered"]) is OrderedDict
    assert tree["values"] == [*TREE["values"][:-1], 0.5]
    assert torch.equal(tree["fortran"], torch.arange(6, dtype=torch.float64).reshape(2, 3))
    assert torch.equal(tree[5], torch.tensor([True, False]))
    assert [str(tensor.dtype) for tensor in tree["dtypes"]][-1] == "torch.bfloat16"


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"a": {"b": [object()]}}, r"a.b\[0\] is a object"),
        ({"a": np.array(["text"])}, "a is an array of <U4"),
        ({"a": {1.5: 2}}, "a has a key of type float"),
        ({"a": np.ones(2, np.uint16)}, "uint16"),
        (b"bytes", "the tree is a bytes"),
    ],
)
def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path, tree, words):
    with pytest.raises(TorchFileError, match=words):
        write_torch_file(tmp_path / "x.pt", tree)
    assert os.listdir(tmp_path) == []


def test_a_tree_that_holds_itself_is_refused(tmp_path):
    tree: dict = {}
    tree["itself"] = tree
    with pytest.raises(TorchFileError, match="recursion"):
        write_torch_file(tmp_path / "x.pt", tree)


def test_a_failed_write_keeps_what_was_there(tmp_path, monkeypatch):
    path = write_torch_file(tmp_path / "x.pt", {"x": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(TorchFileError, match="No space left"):
        write_torch_file(path, {"x": 2})
    assert read_torch_file(path) == {"x": 1}
    assert os.listdir(tmp_path) == ["x.pt"]
