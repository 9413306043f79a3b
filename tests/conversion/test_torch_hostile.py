"""Files that try to run something, to climb out, or to take all memory and time: none gets anywhere."""

import io
import json
import math
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from rosecd_jax.conversion import load_torch_checkpoint
from rosecd_jax.conversion.parameters import parameter_shapes
from rosecd_jax.conversion.torch_file import Placeholder, TorchFileError, TorchTensor, read_torch_file
from tests.conversion import hostile, hostile_networks
from tests.helpers import FIXTURES

CASES = hostile.CASES + hostile_networks.CASES
READ_ALL = f"""
import json, sys, time
from rosecd_jax.conversion import TorchFileError, load_torch_checkpoint
from rosecd_jax.conversion.torch_file import read_torch_file
{hostile.PEAK_MEMORY}
for path in sys.argv[1:]:
    start, results = time.process_time(), []
    for read in (read_torch_file, load_torch_checkpoint):
        try:
            value = read(path)
            results.append("")
            del value
        except TorchFileError as error:
            results.append(str(error))
    print(json.dumps([*results, time.process_time() - start, peak_memory()]), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Case -> what read_torch_file and load_torch_checkpoint said, CPU seconds, peak memory in bytes."""
    folder, elsewhere = tmp_path_factory.mktemp("hostile"), tmp_path_factory.mktemp("elsewhere")
    paths = hostile.write(folder, CASES)
    command = [sys.executable, "-c", READ_ALL, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, timeout=300)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(paths), f"{CASES[len(lines)].name}: {done.stderr[-2000:]}"
    assert list(elsewhere.iterdir()) == [], "a file ran something"
    assert len(list(folder.iterdir())) == len(paths), "a file ran something"
    return {case.name: line for case, line in zip(CASES, lines, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_file_is_refused_or_inert(outcomes, case):
    read, converted, seconds, memory = outcomes[case.name]
    if case.words:
        assert re.search(case.words, read), read
    else:
        assert read == ""
    assert converted, "it was converted"
    assert re.search(case.converting, converted), converted
    assert not re.search("[\x00-\x1f\x7f]", read + converted)
    assert len(read) < 1000
    assert len(converted) < 1000
    assert seconds < 10
    assert memory < 1e9


def test_the_good_file_that_the_bad_ones_are_made_of_is_good(tmp_path):
    (tmp_path / "x.pt").write_bytes(hostile.GOOD)
    np.testing.assert_array_equal(read_torch_file(tmp_path / "x.pt")["x"].read(), np.zeros(4, np.float32))


@pytest.mark.parametrize("deflated", [False, True])
def test_parameters_that_lie_side_by_side_in_one_storage_are_no_bomb(tmp_path, deflated):
    shapes = list(parameter_shapes(hostile_networks.SMALL).values())
    starts = np.cumsum([0, *map(math.prod, shapes)]).tolist()
    numbers = np.random.default_rng(0).random(starts[-1], np.float32)

    def place(index, shape):
        return hostile.rebuilt(shape, hostile_networks.rows(shape), offset=starts[index])

    members = {"data/0": numbers.tobytes()}
    data = hostile_networks.network(hostile_networks.each(place), members, deflated=deflated)
    (tmp_path / "x.ckpt").write_bytes(data)
    params = load_torch_checkpoint(tmp_path / "x.ckpt")[1]["raw"]
    leaves = jax.tree.leaves(params)
    np.testing.assert_array_equal(params["output"]["kernel"].reshape(4, 2).T.ravel(), numbers[:8])
    assert sum(leaf.size for leaf in leaves) == len(numbers)
    assert all(leaf.base is None and leaf.flags.writeable for leaf in leaves)


def test_a_call_is_recorded_and_not_made(tmp_path):
    (tmp_path / "x.pt").write_bytes(hostile.archive(hostile.calls("os", "system", "false")))
    call = read_torch_file(tmp_path / "x.pt")
    assert isinstance(call, Placeholder)
    assert (call.name, call.args) == ("os.system", ("false",))
    assert repr(call) == "<object of os.system>"


def test_nothing_reads_pickles_but_our_own_reader(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("the standard library's reader was called")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    assert read_torch_file(FIXTURES / "torch_written.pt")["size"] == (2, 3)


def read_to_the_end(path: Path) -> None:
    """Read a file and all its tensors; only TorchFileError may be raised."""
    try:
        todo, seen = [read_torch_file(path)], 0
        while todo and seen < 10_000:
            value, seen = todo.pop(), seen + 1
            if isinstance(value, TorchTensor):
                assert value.read().shape == value.shape
            elif isinstance(value, Placeholder):
                repr(value)
            elif isinstance(value, dict):
                todo += value.values()
            elif isinstance(value, (list, tuple)):
                todo += value
    except TorchFileError as error:
        if str(path) not in str(error):
            raise AssertionError(f"the message doesn't name the file: {error}") from error


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


VALID = FIXTURES / "torch_written.pt"
PICKLE = members(VALID)["torch_written/data.pkl"]
fuzz = hypothesis.settings(
    max_examples=300,
    deadline=5000,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
edits = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(min_size=1, max_size=9)),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """Overwrite, insert or remove bytes, or truncate the file."""
    for place, kind, new in changes:
        at = int(place * len(data))
        rest = {0: data[at + len(new) :], 1: data[at:], 2: data[at + 9 * len(new) :], 3: b""}[kind]
        data = data[:at] + (new if kind < 2 else b"") + rest
    return data


@fuzz
@hypothesis.given(changes=edits)
def test_an_archive_with_changed_bytes(tmp_path, changes):
    (tmp_path / "x.pt").write_bytes(edited(VALID.read_bytes(), changes))
    read_to_the_end(tmp_path / "x.pt")


@fuzz
@hypothesis.given(changes=edits)
def test_a_pickle_with_changed_bytes(tmp_path, changes):
    write_with_pickle(tmp_path / "x.pt", edited(PICKLE, changes))
    read_to_the_end(tmp_path / "x.pt")


NAMES = [
    *("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3"),
    *("torch FloatStorage", "torch float16", "torch Size", "builtins set", "builtins bytearray", "os system"),
    *("numpy.core.multiarray scalar", "_codecs encode", "collections defaultdict", "builtins complex"),
    *("torch._tensor _rebuild_from_type_v2", "torch._utils _rebuild_parameter", "torch device"),
]
OPERATIONS = [
    *(bytes([code]) for code in b"(012NRbaeut]})Q.sdl" + bytes(range(0x80, 0x98))),
    *(b"c" + name.replace(" ", "\n").encode() + b"\n" for name in NAMES),
    *(hostile.text(word) for word in ("storage", "0", "cpu", "f4", "latin1", "x")),
    *(hostile.number(value) for value in (0, 1, 4, -1, 2**40, 2**63)),
    *(b"q\1", b"h\1", b"K\2", b"G" + bytes(8), b"C\4abcd", b"h\2", b"q\2"),
    b"(" + hostile.text("storage") + b"ctorch\nFloatStorage\n" + hostile.text("0") + b"NK\1tQ",
]


@fuzz
@hypothesis.given(operations=st.lists(st.sampled_from(OPERATIONS), max_size=60))
def test_random_operations(tmp_path, operations):
    write_with_pickle(tmp_path / "x.pt", b"\x80\x02" + b"".join(operations) + b".")
    read_to_the_end(tmp_path / "x.pt")


def write_with_pickle(path: Path, data_pkl: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in (members(VALID) | {"torch_written/data.pkl": data_pkl}).items():
            archive.writestr(name, data)
    path.write_bytes(file.getvalue())
