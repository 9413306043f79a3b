"""Tensors of a PyTorch file, and constructors of the plain values that its pickle may build."""

import dataclasses
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from rosecd_jax.conversion import archive
from rosecd_jax.conversion.unpickler import PickleError, Placeholder, check_key

MOST_DIMENSIONS = 32
MOST_REPEATED = 2**20
"""Maximum elements of a tensor that has more than its storage because it repeats some."""

MOST_TIMES = 2
"""Maximum ratio of the bytes read for all tensors of a network to those of their storages."""

DTYPES: dict[str, tuple[Any, str]] = {
    "float32": (np.float32, "FloatStorage"),
    "float64": (np.float64, "DoubleStorage"),
    "float16": (np.float16, "HalfStorage"),
    "bfloat16": (ml_dtypes.bfloat16, "BFloat16Storage"),
    "int64": (np.int64, "LongStorage"),
    "int32": (np.int32, "IntStorage"),
    "int16": (np.int16, "ShortStorage"),
    "int8": (np.int8, "CharStorage"),
    "uint8": (np.uint8, "ByteStorage"),
    "bool": (np.bool_, "BoolStorage"),
    "complex64": (np.complex64, "ComplexFloatStorage"),
    "complex128": (np.complex128, "ComplexDoubleStorage"),
    "uint16": (np.uint16, ""),
    "uint32": (np.uint32, ""),
    "uint64": (np.uint64, ""),
    "float8_e4m3fn": (ml_dtypes.float8_e4m3fn, ""),
    "float8_e5m2": (ml_dtypes.float8_e5m2, ""),
}
"""Name -> NumPy's dtype, and PyTorch's storage class for it, if any."""
_ALIASES = {"float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32"}
_ALIASES |= {"short": "int16", "cfloat": "complex64", "cdouble": "complex128"}
_UNTYPED = "UntypedStorage"
_STORAGES = {storage: np.dtype(dtype) for dtype, storage in DTYPES.values() if storage}
_STORAGES[_UNTYPED] = np.dtype(np.uint8)
CONSTANTS = {f"torch.{name}": np.dtype(dtype) for name, (dtype, _) in DTYPES.items()}
CONSTANTS |= {f"torch.{alias}": np.dtype(DTYPES[name][0]) for alias, name in _ALIASES.items()}


class TorchFileError(ValueError):
    """Error in reading or writing a PyTorch file; the message names the file and the problem."""


class Source:
    """A PyTorch file, opened again for each tensor, so that it does not stay open or mapped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, archive.Member] = {}
        self.byte_order = "little"
        self.stamp: tuple[int, int] | None = None
        self._inflated: tuple[str, bytes] = ("", b"")

    def open(self) -> io.BufferedReader:
        file = self.path.open("rb")
        status = os.fstat(file.fileno())
        stamp = (status.st_size, status.st_mtime_ns)
        if self.stamp not in (None, stamp):
            file.close()
            raise TorchFileError(f"{self.path} has changed since it was opened; load it again")
        self.stamp = stamp
        return file

    def read(self, member: archive.Member, start: int, size: int) -> np.ndarray:
        """Read bytes of a member, uint8 [size]; the checksum is verified if all of it is read."""
        try:
            with self.open() as file:
                if member.compressed:
                    if self._inflated[0] != member.name:
                        self._inflated = (member.name, archive.read_member(file, member))
                    return np.frombuffer(self._inflated[1], np.uint8, size, start)
                data = np.fromfile(file, np.uint8, size, offset=member.start + start)
            if data.size != size:
                raise TorchFileError(f"{self.path} was truncated while it was read")
            if size == member.size:
                archive.check_crc(data.data, member)
        except (archive.ZipError, OSError) as error:
            raise TorchFileError(f"{self.path}: {error}; copy or download it again") from error
        return data


@dataclasses.dataclass(frozen=True)
class Storage:
    """One member of the archive as a 1-D array."""

    source: Source
    member: archive.Member
    dtype: np.dtype


@dataclasses.dataclass(frozen=True, eq=False)
class TorchTensor:
    """A tensor whose elements are still in the file.

    Attributes:
      shape: sizes of the axes.
      dtype: dtype of NumPy or ml_dtypes (bfloat16 and float8), in native byte order.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    _storage: Storage = dataclasses.field(repr=False)
    _offset: int = dataclasses.field(repr=False)
    _strides: tuple[int, ...] = dataclasses.field(repr=False)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=object))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.read(), dtype, copy=copy)

    def read(self) -> np.ndarray:
        """Read the tensor into a new array (read-only if elements repeat or were compressed).

        Raises:
          TorchFileError: if the file is gone, has changed, or is damaged.
        """
        if self.size == 0:
            return np.zeros(self.shape, self.dtype)
        item = self.dtype.itemsize
        span = _span(self.shape, self._strides)
        storage = self._storage
        data = storage.source.read(storage.member, self._offset * item, span * item)
        if storage.source.byte_order != sys.byteorder:
            part = item // 2 if self.dtype.kind == "c" else item
            data = data.reshape(-1, part)[:, ::-1].reshape(-1)
        steps = tuple(
            stride * item if size > 1 else 0 for size, stride in zip(self.shape, self._strides, strict=True)
        )
        view = np.ndarray(self.shape, self.dtype, data, strides=steps)  # checks the bounds again
        view.flags.writeable &= self.size <= span
        if self.dtype == np.bool_:  # bytes other than 0 and 1 are not valid booleans
            return view.view(np.uint8) != 0
        return view


def check_reading(tensors: Iterable[TorchTensor]) -> None:
    """Check that reading tensors one by one does not take many times the size of their storages.

    A file of some kilobytes can use one storage for a thousand tensors, or alternate between two that have to
    be inflated again each time. In a network written by `torch.save`, each element is read once.

    Raises:
      TorchFileError: if the tensors are much larger than their storages.
    """
    storages: dict[str, int] = {}
    memory = work = 0
    last = ""
    for tensor in tensors:
        item, member = tensor.dtype.itemsize, tensor._storage.member
        storages[member.name] = member.size
        memory += tensor.size * item
        if not member.compressed:
            work += _span(tensor.shape, tensor._strides) * item if tensor.size else 0
        elif member.name != last:
            work += member.size
        last = member.name
    held = sum(storages.values())
    if max(memory, work) > MOST_TIMES * held:
        raise TorchFileError(
            f"tensors take {memory} bytes of memory and {work} of reading, their storages only {held}; "
            "this looks like a bomb"
        )


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Number of elements from the first to the last of a non-empty view."""
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


# Values that a pickle may build. Arguments come from the file: each is checked before it is used.


def _natural(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise PickleError(f"{what} of a tensor is {_brief(value)}, expected a non-negative integer")
    return value


def _brief(value: Any) -> str:
    """Format a value from a file, which may be long, for messages."""
    return repr(value)[:80] if isinstance(value, (int, float, str, type(None))) else type(value).__name__


def find_storage(source: Source, top: str, identity: Any) -> Storage:
    """Find the storage of a persistent id ("storage", class, key, location, count)."""
    if type(identity) is not tuple or len(identity) != 5 or identity[0] != "storage":
        raise PickleError("it refers to something other than a storage")
    _, kind, key, _, count = identity
    name = kind.name.rpartition(".")[2] if isinstance(kind, Placeholder) else type(kind).__name__
    if not isinstance(kind, Placeholder) or not kind.name.startswith("torch.") or name not in _STORAGES:
        raise PickleError(f"storages of type {name[:100]!r} are not known; save the tensor as float32")
    if type(key) is not str or len(key) > 100:
        raise PickleError("the name of a storage is not a short string")
    member = source.members.get(f"{top}/data/{key}")
    if member is None:
        raise PickleError(f"storage {key!r} is missing from the archive")
    storage = Storage(source, member, _STORAGES[name])
    if _natural(count, "the storage") * storage.dtype.itemsize > member.size:
        raise PickleError(f"storage {key!r} has {member.size} bytes, too short for {count} numbers")
    return storage


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, dtype: np.dtype | None = None) -> Any:
    if not isinstance(storage, Storage):
        raise PickleError("a tensor without a storage")
    if type(shape) is not tuple or type(strides) is not tuple or len(shape) != len(strides):
        raise PickleError("sizes and strides of a tensor don't agree")
    if len(shape) > MOST_DIMENSIONS:
        raise PickleError(f"a tensor of {len(shape)} dimensions")
    for value in (offset, *shape, *strides):
        _natural(value, "offset, size or stride")
    dtype = storage.dtype if dtype is None else dtype
    tensor = TorchTensor(shape, dtype, storage, offset, strides)
    room = storage.member.size // dtype.itemsize
    if tensor.size and offset + _span(shape, strides) > room:
        raise PickleError(f"a tensor of shape {shape} reaches beyond its storage of {room} numbers")
    extent = int(np.prod([max(size, 1) for size in shape], dtype=object)) * dtype.itemsize
    if tensor.size > max(room, MOST_REPEATED) or extent >= 2**62:
        raise PickleError(f"a tensor of shape {shape} repeats the {room} numbers of its storage")
    return tensor


def _tensor_v3(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Any:
    """Build a tensor of an explicit dtype, for untyped storages."""
    if len(rest) < 3 or not isinstance(rest[2], np.dtype):
        raise PickleError("a tensor of an unknown dtype; save it as float32")
    return _tensor(storage, offset, shape, strides, rest[2])


def _of_type(function: Any, kind: Any, args: Any, state: Any) -> Any:
    """Build a tensor of a subclass, or with attributes, as a plain tensor."""
    del kind, state
    if not isinstance(function, Placeholder) or function.name not in _REBUILDERS or type(args) is not tuple:
        raise PickleError("a tensor is built in an unknown way")
    return _REBUILDERS[function.name](*args)


def _dict(items: Any = ()) -> dict:
    if isinstance(items, dict):
        return dict(items)
    if not isinstance(items, (list, tuple)) or any(len(pair) != 2 for pair in items):
        raise PickleError("a dictionary of something other than pairs")
    return {check_key(key): value for key, value in items}


def _elements(kind: type) -> Callable[..., Any]:
    def build(values: Any = ()) -> Any:
        if not isinstance(values, (list, tuple, set, frozenset)):
            raise PickleError(f"a {kind.__name__} of a {type(values).__name__}")
        return kind(check_key(value) for value in values) if kind in (set, frozenset) else kind(values)

    return build


def _size(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, (tuple, list)):
        raise PickleError(f"a torch.Size of a {type(sizes).__name__}")
    return tuple(_natural(size, "a size") for size in sizes)


def _device(kind: Any, index: Any = None) -> str:
    return _brief(kind).strip("'") if index is None else f"{_brief(kind)}:{_brief(index)}".replace("'", "")


def _latin(text: Any = "", encoding: Any = "latin1") -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise PickleError("bytes in an unknown encoding")
    return text.encode("latin-1")


def _complex(real: Any, imaginary: Any = 0.0) -> complex:
    if not isinstance(real, (int, float)) or not isinstance(imaginary, (int, float)):
        raise PickleError("a complex number of something other than numbers")
    return complex(real, imaginary)


def _numpy_scalar(dtype: Any, data: Any = b"") -> Any:
    """Build a Python number for a NumPy scalar."""
    args = dtype.args if isinstance(dtype, Placeholder) and dtype.name == "numpy.dtype" else None
    kind = args[0] if args else None
    if kind not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
        raise PickleError("a numpy number of unknown dtype")
    state = dtype.state
    big = type(state) is tuple and len(state) > 1 and state[1] == ">"
    return np.frombuffer(data, np.dtype(kind).newbyteorder(">" if big else "<"), 1)[0].item()


_REBUILDERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": lambda storage, offset, shape, strides, *_: _tensor(
        storage, offset, shape, strides
    ),
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
}
CONSTRUCTORS: Mapping[str, Callable[..., Any]] = _REBUILDERS | {
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.Size": _size,
    "torch.device": _device,
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "collections.defaultdict": lambda factory=None, items=(): _dict(items),
    "builtins.set": _elements(set),
    "builtins.frozenset": _elements(frozenset),
    "builtins.list": _elements(list),
    "builtins.tuple": _elements(tuple),
    "builtins.dict": _dict,
    "builtins.complex": _complex,
    "builtins.bytes": _latin,
    "builtins.bytearray": lambda text=b"", *encoding: bytearray(
        text if isinstance(text, bytes) else _latin(text, *encoding)
    ),
    "_codecs.encode": _latin,
    "numpy.core.multiarray.scalar": _numpy_scalar,
}
