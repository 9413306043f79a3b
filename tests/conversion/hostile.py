"""Files that try to harm who reads them, for test_torch_hostile.py.

A case is a name, the bytes of a file, and what reading it has to give: words of the error, or INERT where the
file is readable and everything strange in it has become a placeholder. No case converts; where the words of
that error matter, they stand last.
"""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

INERT = ""
SENTINEL = "ran"
"""A file that would appear in the working directory if anything were run."""
TOUCH = f"open({SENTINEL!r}, 'w')"


PEAK_MEMORY = """
import pathlib, resource

def peak_memory():
    # In bytes. What getrusage tells on Linux counts the process that started this one.
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""


class Case(NamedTuple):
    name: str
    data: bytes
    words: str
    converting: str = ""


def archive(data_pkl: bytes, members: dict[str, bytes] | None = None, deflated: bool = False) -> bytes:
    """A file like PyTorch's around a pickle; `members` are named below the top folder."""
    method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        made.writestr("archive/data.pkl", data_pkl)
        for name, data in (members or {}).items():
            made.writestr(f"archive/{name}", data)
        made.writestr("archive/version", b"3\n")
    return file.getvalue()


def with_member(name: str, **attributes: Any) -> bytes:
    """A good file with one member more, of another kind."""
    file = io.BytesIO(archive(PLAIN))
    with zipfile.ZipFile(file, "a") as made:
        member = zipfile.ZipInfo(name)
        for key, value in attributes.items():
            setattr(member, key, value)
        made.writestr(member, b"data")
    return file.getvalue()


def changed(data: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    assert old in data
    return data.replace(old, new, count)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(number(value) for value in values) + b"t"


def tensor(
    shape: tuple[int, ...] = (4,),
    strides: tuple[int, ...] = (1,),
    offset: int = 0,
    kind: bytes = b"torch\nFloatStorage",
    key: str = "0",
    count: int = 4,
    held: bytes = bytes(16),
) -> bytes:
    """A file with one tensor whose storage is archive/data/0."""
    build = rebuilt(shape, strides, offset, kind, key, count)
    return archive(b"\x80\x02}" + text("x") + build + b"s.", {"data/0": held})


def rebuilt(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int = 0,
    kind: bytes = b"torch\nFloatStorage",
    key: str = "0",
    count: int = 1,
) -> bytes:
    """The opcodes of a tensor."""
    storage = text("storage") + b"c" + kind + b"\n" + text(key) + text("cpu") + number(count)
    build = b"ctorch._utils\n_rebuild_tensor_v2\n((" + storage + b"tQ" + number(offset)
    return build + numbers(shape) + numbers(strides) + b"\x89}tR"


def calls(module: str, name: str, *arguments: str) -> bytes:
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + b"".join(map(text, arguments)) + b"tR."


class Runs:
    """Pickled as a call."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def doubled(times: int) -> bytes:
    """A tuple of two tuples of two tuples …: short here, endless when walked."""
    return b")" + b"2\x86" * times


PLAIN = pickle.dumps({"a": 1}, 2)
SHELL = f"touch {SENTINEL}"
GOOD = tensor()


def hyper_parameters(name: str, value: bytes) -> bytes:
    """A file that goes as far as a checkpoint of the authors, with one strange hyper-parameter."""
    state = text("state_dict") + b"}" + text("hyper_parameters") + b"}" + text(name) + value + b"s"
    return archive(b"\x80\x02}(" + state + b"u.")


def overlapping() -> bytes:
    """Two entries of the directory for the same bytes."""
    inside = bytes(1000)
    data = archive(PLAIN, {"data/0": inside, "data/1": b""})
    first = data.index(b"archive/data/0", data.rindex(inside) + 1000) - 46
    second = data.index(b"archive/data/1", first) - 46
    entry = bytearray(data)
    entry[second + 16 : second + 28] = entry[first + 16 : first + 28]
    return bytes(entry)


CASES = [
    # Calls.
    Case("os.system", archive(pickle.dumps(Runs(os.system, SHELL), 2)), INERT),
    Case("os.system, protocol 5", archive(pickle.dumps({"x": [Runs(os.system, SHELL)]}, 5)), INERT),
    Case("posix.system", archive(calls("posix", "system", SHELL)), INERT),
    Case("builtins.eval", archive(pickle.dumps(Runs(eval, TOUCH), 2)), INERT),
    Case("builtins.exec", archive(calls("builtins", "exec", TOUCH)), INERT),
    Case("__builtin__.open", archive(calls("__builtin__", "open", SENTINEL, "w")), INERT),
    Case("subprocess.Popen", archive(calls("subprocess", "Popen", SHELL)), INERT),
    Case("runpy.run_path", archive(calls("runpy", "run_path", SENTINEL)), INERT),
    Case("numpy.load", archive(calls("numpy", "load", SENTINEL)), INERT),
    Case("pickle.loads", archive(b"\x80\x04\x8c\x06pickle\x8c\x05loads\x93(" + text("x") + b"tR."), INERT),
    Case("torch.hub.load", archive(calls("torch.hub", "load", "a", "b")), INERT),
    Case(
        "a call of what a call gave",
        archive(
            b"\x80\x02cbuiltins\ngetattr\n(cbuiltins\n__import__\n("
            + text("os")
            + b"tR"
            + text("system")
            + b"tR("
            + text(SHELL)
            + b"tR."
        ),
        INERT,
    ),
    Case("NEWOBJ of Popen", archive(b"\x80\x02csubprocess\nPopen\n(" + text(SHELL) + b"t\x81."), INERT),
    Case(
        "NEWOBJ_EX of Popen",
        archive(b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93)}" + text("args") + text(SHELL) + b"s\x92."),
        INERT,
    ),
    Case(
        "__setstate__ of a class",
        archive(b"\x80\x02cos\nsystem\n}" + text("__setstate__") + b"cos\nsystem\nsb" + text(SHELL) + b"b."),
        INERT,
    ),
    Case(
        "state for a placeholder's own fields",
        archive(b"\x80\x02cos\nsystem\n)\x81}" + text("name") + text("collections.OrderedDict") + b"sb."),
        INERT,
    ),
    Case("state with __class__ for a dict", archive(b"\x80\x02}}" + text("__class__") + b"Nsb."), INERT),
    Case("append to a call", archive(b"\x80\x02cos\nsystem\n)R" + text(SHELL) + b"a."), INERT),
    Case("set keys of a call", archive(b"\x80\x02cos\nsystem\n)R" + text("a") + text(SHELL) + b"s."), INERT),
    Case(
        "a rebuilt tensor by os.system",
        archive(b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN(" + text(SHELL) + b"tNtR."),
        "unknown way",
    ),
    Case("INST", archive(b"\x80\x02(" + text(SHELL) + b"ios\nsystem\n."), "opcode 0x69"),
    Case("OBJ", archive(b"\x80\x02(cos\nsystem\n" + text(SHELL) + b"o."), "opcode 0x6f"),
    Case("EXT1", archive(b"\x80\x02\x82\x01."), "opcode 0x82"),
    Case("a call of a text", archive(b"\x80\x02" + text("os.system") + b")R."), "calls a str"),
    Case("arguments that are no tuple", archive(b"\x80\x02cos\nsystem\n" + text(SHELL) + b"R."), "calls a"),
    Case(
        "a persistent id that is a call",
        archive(b"\x80\x02cos\nsystem\n(" + text(SHELL) + b"tRQ."),
        "something other than a storage",
    ),
    # Sizes.
    Case("bomb for a pickle", archive(bytes(200_000_000), deflated=True), "bomb"),
    Case("bomb beside the pickle", archive(PLAIN, {"data/0": bytes(200_000_000)}, deflated=True), "bomb"),
    Case("huge text", archive(b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"abc."), "ends before"),
    Case("huge bytes", archive(b"\x80\x04\x8e" + struct.pack("<Q", 2**63) + b"abc."), "ends before"),
    Case("huge bytearray", archive(b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc."), "ends before"),
    Case("huge frame", archive(b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N."), "frame"),
    Case("huge integer", archive(b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"abc."), "integer"),
    Case("long integer", archive(b"\x80\x02\x8b" + struct.pack("<i", 9000) + bytes(9000) + b"."), "integer"),
    Case("negative integer", archive(b"\x80\x02\x8b" + struct.pack("<i", -5) + b"abc."), "integer"),
    Case("negative string", archive(b"\x80\x02T" + struct.pack("<i", -5) + b"abc."), "ends before"),
    Case("memo far away", archive(b"\x80\x02Nr\xff\xff\xff\xff."), INERT),
    Case("deep lists", archive(b"\x80\x02" + b"]" * 700_000 + b"a" * 699_999 + b"."), INERT),
    Case("deep calls", archive(b"\x80\x02N" + b"q\x000cos\nsystem\nh\0\x85R" * 200_000 + b"."), INERT),
    Case("deep states", archive(b"\x80\x02N" + b"q\x000cos\nsystem\n)Rh\0b" * 200_000 + b"."), INERT),
    Case("millions of sets", archive(b"\x80\x04" + b"\x8f" * 3_000_000 + b"."), "opcodes"),
    Case(
        "a long list copied again and again",
        archive(b"\x80\x02](" + b"N" * 100_000 + b"eq\0" + b"cbuiltins\nlist\nh\0\x85R" * 100 + b"."),
        "copies more than",
    ),
    Case(
        "a long text copied again and again",
        archive(
            b"\x80\x02"
            + text("a" * 1_000_000)
            + text("latin1")
            + b"\x86q\0"
            + b"c_codecs\nencode\nh\0R" * 500
            + b"."
        ),
        "copies more than",
    ),
    Case(
        "a key that takes for ever to hash",
        archive(b"\x80\x02}" + doubled(100) + b"Ns."),
        "key of type tuple",
    ),
    Case(
        "an element that takes for ever to hash",
        archive(b"\x80\x04\x8f(" + doubled(100) + b"\x90."),
        "key of",
    ),
    Case(
        "keys whose hashes collide",
        archive(b"\x80\x02}(" + b"".join(number(k * (2**61 - 1)) + b"N" for k in range(1, 50_000)) + b"u."),
        "huge number",
    ),
    Case("complex keys", archive(b"\x80\x02}cbuiltins\ncomplex\nK\x01K\x02\x86RNs."), "key of type complex"),
    Case("endless hyper-parameter", hyper_parameters("backbone", doubled(200)), INERT),
    Case("hyper-parameter that is a call", hyper_parameters("backbone", b"cos\nsystem\n)R"), INERT),
    # Tensors.
    Case("negative stride", tensor(strides=(-1,), offset=3), "offset, size or stride"),
    Case("huge stride", tensor(strides=(2**61,)), "reaches beyond"),
    Case("stride beyond 64 bits", tensor(strides=(2**70,)), "offset, size or stride"),
    Case("negative size", tensor(shape=(-4,)), "offset, size or stride"),
    Case("huge size", tensor(shape=(2**61,), count=4), "reaches beyond"),
    Case("huge sizes that wrap around", tensor(shape=(2**32, 2**32), strides=(0, 0)), "repeats"),
    Case("endless repetition", tensor(shape=(2**40,), strides=(0,)), "repeats"),
    Case("empty but huge", tensor(shape=(0, 2**61, 2**61), strides=(1, 1, 1)), "repeats"),
    Case("negative offset", tensor(offset=-1), "offset, size or stride"),
    Case("offset beyond the end", tensor(offset=1), "reaches beyond"),
    Case("more dimensions than numpy has", tensor(shape=(1,) * 70, strides=(1,) * 70), "70 dimensions"),
    Case("strides for another shape", tensor(strides=(1, 1)), "don't agree"),
    Case("storage too short", tensor(held=bytes(15)), "too short"),
    Case("storage of negative length", tensor(count=-1), "the storage"),
    Case("unknown dtype", tensor(kind=b"torch\nQUInt8Storage"), "QUInt8Storage"),
    Case("made-up dtype", tensor(kind=b"os\nFloatStorage"), "not known"),
    Case("storage that is missing", tensor(key="1"), "missing"),
    Case("storage by a path", tensor(key="../data.pkl"), "missing"),
    Case("storage by a climbing path", tensor(key="../../../etc/passwd"), "missing"),
    # Archives.
    Case("empty file", b"", "is empty"),
    Case("four bytes", GOOD[:4], "truncated"),
    Case("half a file", GOOD[: len(GOOD) // 2], "truncated"),
    Case("the last byte is missing", GOOD[:-1], "truncated"),
    Case("no zip at all", bytes(range(256)) * 10, "not a PyTorch file"),
    Case("legacy file", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + PLAIN, "before 1.6"),
    Case("a mere pickle that runs", pickle.dumps(Runs(os.system, SHELL), 4), "before 1.6"),
    Case("another zip", changed(GOOD, b"data.pkl", b"data.txt"), "was not written by torch.save"),
    Case("a program of TorchScript", archive(PLAIN, {"constants.pkl": PLAIN}), "TorchScript"),
    Case("absolute name", with_member("/etc/cron.d/x"), "absolute or points"),
    Case("climbing name", with_member("archive/../../x"), "absolute or points"),
    Case("backslashes", with_member("archive/..\\..\\x"), "absolute or points"),
    Case("drive", with_member("C:/x"), "absolute or points"),
    Case("symbolic link", with_member("archive/link", create_system=3, external_attr=0o120777 << 16), "link"),
    Case("name twice", changed(with_member("archive/data.pkk"), b"data.pkk", b"data.pkl"), "twice"),
    Case("encrypted", changed(GOOD, b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0"), "encrypted"),
    Case(
        "other compression",
        changed(GOOD, b"PK\1\2\x14\x03\x14\0\0\0\0", b"PK\1\2\x14\x03\x14\0\0\0\x0c"),
        "method 12",
    ),
    Case("overlapping members", overlapping(), "or overlap|another member"),
    Case("four thousand million members", changed(GOOD, GOOD[-12:-10], b"\xfe\xff"), "checksum|broken"),
    Case("damaged pickle", changed(archive(PLAIN), PLAIN, pickle.dumps({"a": 2}, 2)), "checksum"),
    Case("unknown byte order", archive(PLAIN, {"byteorder": b"middle"}), "byte order"),
    # Broken pickles.
    Case("no end", archive(PLAIN[:-1]), "ends or is broken"),
    Case("nothing", archive(b""), "ends or is broken"),
    Case("too new", archive(b"\x80\x63N."), "protocol"),
    Case("text that is not UTF-8", archive(b"\x80\x02X\x02\0\0\0\xff\xfe."), "UTF-8"),
    Case("memo that was never stored", archive(b"\x80\x02h\x05."), "never stored"),
    Case("a mark as a value", archive(b"\x80\x02(."), "values are left"),
    Case("empty stack", archive(b"\x80\x02R."), "broken"),
    Case("odd keys and values", archive(b"\x80\x02}(NNNu."), "keys and values"),
]


def write(folder: Path, cases: Iterable[Case]) -> list[Path]:
    paths = []
    for index, case in enumerate(cases):
        paths.append(folder / f"{index}.pt")
        paths[-1].write_bytes(case.data)
    return paths
