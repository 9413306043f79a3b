"""Reading and writing of PyTorch's .ckpt and .pt files without PyTorch, and without running their code."""

import functools
import os
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from rosecd_jax.atomic import replacing
from rosecd_jax.conversion import archive
from rosecd_jax.conversion.tensors import (
    CONSTANTS,
    CONSTRUCTORS,
    DTYPES,
    Source,
    TorchFileError,
    TorchTensor,
    find_storage,
)
from rosecd_jax.conversion.unpickler import PickleError, Placeholder, load_pickle

__all__ = ["Placeholder", "TorchFileError", "TorchTensor", "read_torch_file", "write_torch_file"]

LONGEST_PICKLE = 16 * 2**20
"""Maximum bytes of the pickle, without tensors; a published checkpoint has 0.5 MB."""
ALIGNMENT = 64
"""Alignment of tensors in the file, in bytes, as in PyTorch."""

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_STORAGE_CLASSES = {np.dtype(dtype): storage for dtype, storage in DTYPES.values() if storage}


def read_torch_file(path: str | os.PathLike) -> Any:
    """Read a file written by `torch.save` (PyTorch 1.6 or later). Tensors stay in the file until `read()`.

    Returns:
      The saved value. OrderedDict, defaultdict and Counter become dicts, parameters tensors, torch.Size a
      tuple, torch.device a string, and a torch dtype NumPy's; classes, functions and other objects become
      `Placeholder`s. Nothing is imported or called. Values of a hostile file may be nested deeply, or contain
      themselves: traverse them without recursion.

    Raises:
      TorchFileError: if there is no such file, or it is truncated, damaged, hostile, or of another format.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # opening a named pipe would block forever
        raise TorchFileError(f"{path} is not a file")
    source = Source(path)
    try:
        with source.open() as file:
            _check_beginning(path, file.read(len(_LEGACY)))
            source.members = archive.read_directory(file)
            pickles = [name for name in source.members if name.rpartition("/")[2] == "data.pkl"]
            top = pickles[0].rpartition("/")[0] if len(pickles) == 1 else ""
            if top == "" or "/" in top:
                raise TorchFileError(f"{path} is a zip archive, but was not written by torch.save")
            if f"{top}/constants.pkl" in source.members:
                raise TorchFileError(f"{path} is a TorchScript program; save its state_dict with torch.save")
            source.byte_order = _byte_order(file, source.members.get(f"{top}/byteorder"))
            member = source.members[pickles[0]]
            if member.size > LONGEST_PICKLE:
                raise archive.ZipError(f"its pickle takes {member.size} bytes, too many for a checkpoint")
            data = archive.read_member(file, member)
        return load_pickle(data, CONSTRUCTORS, CONSTANTS, functools.partial(find_storage, source, top))
    except archive.ZipError as error:
        raise TorchFileError(f"{path}: {error}; copy or download it again if it was a checkpoint") from error
    except PickleError as error:
        raise TorchFileError(f"{path}: its pickle can't be used: {error}") from error
    except OSError as error:
        raise TorchFileError(f"{path} can't be read: {error.strerror or error}") from error


def _check_beginning(path: Path, start: bytes) -> None:
    if start[:4] == b"PK\3\4":
        return
    if not start:
        raise TorchFileError(f"{path} is empty")
    if start == _LEGACY or start[:1] == b"\x80":
        raise TorchFileError(
            f"{path} is a pickle without an archive, as PyTorch wrote before 1.6; load it with a newer "
            "PyTorch and save it again with torch.save"
        )
    raise TorchFileError(f"{path} is not a PyTorch file (no zip archive); give a .ckpt file of torch.save")


def _byte_order(file: Any, member: archive.Member | None) -> str:
    if member is None:
        return "little"
    word = archive.read_member(file, member) if member.size < 10 else b""
    if word not in (b"little", b"big"):
        raise archive.ZipError("it names an unknown byte order")
    return word.decode()


def write_torch_file(path: str | os.PathLike, tree: Any) -> Path:
    """Write a file that `torch.load(path, weights_only=True)` reads, atomically.

    Args:
      path: file to write; an existing file is replaced.
      tree: nested dicts with str or int keys, lists, tuples, numpy arrays, numbers, strings, booleans and
        None. A `collections.OrderedDict` stays one, arrays become tensors.

    Returns:
      The path.

    Raises:
      TorchFileError: if the tree holds anything else, or the file can't be written.
    """
    path = Path(path)
    arrays: list[np.ndarray] = []
    try:
        pickle = b"\x80\x02" + _pickled(tree, arrays, "") + b"."
    except (RecursionError, TypeError) as error:
        raise TorchFileError(f"{path} can't be written: {error}") from error
    try:
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "x", allowZip64=True) as file:
            _add(file, "data.pkl", pickle)
            _add(file, "byteorder", sys.byteorder.encode())
            for index, array in enumerate(arrays):
                _add(file, f"data/{index}", array.reshape(-1).view(np.uint8).data)
            _add(file, "version", b"3\n")
    except OSError as error:
        raise TorchFileError(f"{path} can't be written: {error.strerror or error}") from error
    return path


def _add(archive: zipfile.ZipFile, name: str, data: bytes | memoryview) -> None:
    """Add a stored member whose bytes begin at a multiple of `ALIGNMENT`."""
    member = zipfile.ZipInfo(f"archive/{name}", (1980, 1, 1, 0, 0, 0))
    member.file_size = len(data)
    huge = len(data) > 2**30
    start = archive.start_dir + 30 + len(member.filename) + (20 if huge else 0) + 4
    padding = -start % ALIGNMENT
    member.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    with archive.open(member, "w", force_zip64=huge) as file:
        file.write(data)
    member.extra = b""  # the directory needs no padding


def _pickled(value: Any, arrays: list[np.ndarray], where: str) -> bytes:
    """Encode a value as opcodes of protocol 2; its arrays are appended to `arrays`."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + struct.pack("<B", len(data)) + data
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        keys = [key for key in value if type(key) not in (str, int)]
        if keys:
            raise TypeError(f"{where or 'the tree'} has a key of type {type(keys[0]).__name__}")
        start = b"ccollections\nOrderedDict\n)R" if isinstance(value, OrderedDict) else b"}"
        pairs = [
            _pickled(key, arrays, where) + _pickled(item, arrays, f"{where}.{key}".strip("."))
            for key, item in value.items()
        ]
        return start + b"(" + b"".join(pairs) + b"u"
    if isinstance(value, (list, tuple)):
        items = b"".join(_pickled(item, arrays, f"{where}[{i}]") for i, item in enumerate(value))
        return b"](" + items + b"e" if isinstance(value, list) else b"(" + items + b"t"
    if isinstance(value, np.ndarray):
        return _pickled_tensor(value, arrays, where)
    raise TypeError(f"{where or 'the tree'} is a {type(value).__name__}, which is not supported")


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _pickled_tensor(array: np.ndarray, arrays: list[np.ndarray], where: str) -> bytes:
    array = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    if array.dtype not in _STORAGE_CLASSES:
        raise TypeError(
            f"{where or 'the tree'} is an array of {array.dtype}, which PyTorch has no storage for"
        )
    strides = np.cumprod((1, *array.shape[:0:-1]), dtype=np.int64)[::-1].tolist() if array.ndim else []
    storage = _text("storage") + f"ctorch\n{_STORAGE_CLASSES[array.dtype]}\n".encode()
    storage += _text(str(len(arrays))) + _text("cpu") + _pickled(array.size, arrays, where)
    arrays.append(array)
    shape = _pickled(array.shape, arrays, where) + _pickled(tuple(strides), arrays, where)
    empty = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n((" + storage + b"tQK\0" + shape + b"\x89" + empty + b"tR"
