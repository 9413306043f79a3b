"""Bytes that a training step moves between devices, counted in its compiled programs.

`python -m benchmarks.scaling collectives` prints them; see `benchmarks.scaling`.
"""

import collections
import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax

from benchmarks.step_parts import gradient_arguments, update_arguments
from rosecd_jax.models import ScoreModel, convolution
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.devices import AXIS, state_shardings
from rosecd_jax.training.step import make_step

KINDS = "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "c64": 8, "f64": 8}
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiler options for a CPU: slow code, compiled fast; collectives are inserted before code generation."""

COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) .*\{$")
INSTRUCTION = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\(")
CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.-]+)")
BRANCHES = re.compile(r"(?:branch_computations|called_computations)=\{(.*?)\}")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


class Total(NamedTuple):
    """Collectives of one kind in one run of a program.

    Attributes:
      number: number of operations.
      size: bytes of the whole arrays that they reduce, gather, scatter or move.
    """

    number: int
    size: int


def array_bytes(shape: str) -> int:
    """Return the bytes of all arrays in an HLO shape, such as `(f32[2,3]{1,0}, s32[])`."""
    total = 0
    for dtype, axes in ARRAY.findall(shape):
        size = BYTES.get(dtype, 4)
        for axis in filter(None, axes.split(",")):
            size *= int(axis)
        total += size
    return total


def whole_size(kind: str, shape: str, started: bool, devices: int) -> int:
    """Return the bytes of the whole array of a collective, from the shape of its result."""
    size = array_bytes(shape)
    if kind == "reduce-scatter":
        return size * devices
    if started and kind == "all-gather":  # the result holds the operand, too
        return size * devices // (devices + 1)
    return size // 2 if started and kind == "collective-permute" else size


def count_collectives(hlo: str, devices: int) -> dict[str, Total]:
    """Count the collectives of one run of a compiled program; those in a loop count for each iteration.

    Args:
      hlo: text of the compiled program, for one of the devices.
      devices: number of devices in a group.
    """
    lines: dict[str, list[str]] = {}
    name = entry = ""
    for line in hlo.splitlines():
        if found := COMPUTATION.match(line):
            name = found[1]
            entry = name if line.startswith("ENTRY") else entry
            lines[name] = []
        elif name:
            lines[name].append(line)
    counts, sizes = collections.Counter(), collections.Counter()

    def visit(name: str, times: int) -> None:
        for line in lines.get(name, []):
            if found := INSTRUCTION.search(line):
                counts[found[2]] += times
                sizes[found[2]] += times * whole_size(found[2], found[1], bool(found[3]), devices)
                continue
            trips = TRIPS.search(line)
            branches = [words for found in BRANCHES.findall(line) for words in found.split(",")]
            for called in CALLED.findall(line) + [words.strip(" %") for words in branches]:
                visit(called, times * int(trips[1]) if trips else times)

    visit(entry, 1)
    return {kind: Total(counts[kind], sizes[kind]) for kind in KINDS if counts[kind]}


def moved(sizes: Mapping[str, float], devices: int) -> float:
    """Return the bytes that each device sends over a ring of all devices, given sizes of whole arrays."""
    share = (devices - 1) / devices
    factors = {"all-reduce": 2 * share, "collective-permute": 1.0}
    return sum(factors.get(kind, share) * size for kind, size in sizes.items())


class Traffic(NamedTuple):
    """Collectives of one update on any number of devices.

    Attributes:
      counts: operations of each kind.
      fixed: bytes of whole arrays of each kind that don't depend on the batch: weights and gradients.
      per_example: bytes that each example of the whole batch adds: waves and spectrograms.
    """

    counts: dict[str, int]
    fixed: dict[str, float]
    per_example: dict[str, float]

    def moved(self, devices: int, batch: int, divided: float = 1.0) -> tuple[float, float]:
        """Return the bytes that each device sends per update: (fixed, for a batch over all devices).

        `divided` is the share of the weights that fsdp divides, relative to that when compiled: the others
        are not gathered, and their gradients not scattered.
        """
        fixed, scattered = dict(self.fixed), self.fixed.get("reduce-scatter", 0)
        fixed["all-reduce"] = fixed.get("all-reduce", 0) + (1 - divided) * scattered
        fixed |= {kind: divided * fixed.get(kind, 0) for kind in ("all-gather", "reduce-scatter")}
        of_batch = {kind: batch * size for kind, size in self.per_example.items()}
        return moved(fixed, devices), moved(of_batch, devices)


def traffic(config: TrainConfig, mesh: jax.sharding.Mesh) -> Traffic:
    """Compile a step for batches of one and of two items per device; their difference is due to the batch."""
    n, found = mesh.size, []
    for size in (n, 2 * n):
        data = dataclasses.replace(config.data, batch_size=size)
        found.append(step_collectives(dataclasses.replace(config, data=data), mesh))
    small, large = found
    kinds, nothing = sorted({*small, *large}), Total(0, 0)
    per_example = {k: (large.get(k, nothing).size - small.get(k, nothing).size) / n for k in kinds}
    fixed = {k: small.get(k, nothing).size - n * per_example[k] for k in kinds}
    return Traffic({k: small.get(k, nothing).number for k in kinds}, fixed, per_example)


def divided_share(config: TrainConfig, devices: int) -> float:
    """Return the share of the weights that is sharded over a number of devices; the rest is replicated."""
    params = jax.eval_shape(ScoreModel(config.model).init, jax.random.key(0))
    mesh = jax.sharding.AbstractMesh((devices,), (AXIS,))
    shardings = jax.tree.leaves(state_shardings(mesh, params, config.sharding))
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    divided = (n for n, sharding in zip(sizes, shardings, strict=True) if not sharding.is_fully_replicated)
    return sum(divided) / sum(sizes)


@contextlib.contextmanager
def plain_convolutions() -> Iterator[None]:
    """Trace convolutions as for a TPU: those for a CPU gather the batch when they are sharded."""
    least = convolution.LEAST_CHANNELS, convolution.LEAST_PAIRS
    convolution.LEAST_CHANNELS = convolution.LEAST_PAIRS = 10**9
    try:
        yield
    finally:
        convolution.LEAST_CHANNELS, convolution.LEAST_PAIRS = least


@plain_convolutions()
def step_collectives(config: TrainConfig, mesh: jax.sharding.Mesh) -> dict[str, Total]:
    """Compile the programs of a training step for a mesh, and count the collectives of one update."""
    model = ScoreModel(config.model)
    teacher = ScoreModel(dataclasses.replace(config.model, role="teacher"))
    step = make_step(config, model, teacher, mesh)
    arguments = gradient_arguments(config, step, mesh)
    accumulate = config.optimizer.accumulate
    lowered = step.add_gradient.lower(*arguments)  # pyright: ignore[reportFunctionMemberAccess]
    update = step.apply.lower(*update_arguments(config, step, arguments))  # pyright: ignore[reportFunctionMemberAccess]
    options = QUICK if mesh.devices.flat[0].platform == "cpu" else None
    result = collections.defaultdict(lambda: Total(0, 0))
    for program, times in ((lowered, accumulate), (update, 1)):
        text = program.compile(compiler_options=options).as_text()
        for kind, total in count_collectives(text, mesh.size).items():
            old = result[kind]
            result[kind] = Total(old.number + times * total.number, old.size + times * total.size)
    return dict(result)
