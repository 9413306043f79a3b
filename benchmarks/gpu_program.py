"""Memory traffic of the program that XLA compiles for a GPU, which may be absent.

    python -m benchmarks.gpu_program GPU.txtpb [--size full|32|small] [--batch 16] [--frames 256] \
        [--dtype bfloat16]
    python -m benchmarks.gpu_program GPU.txtpb --gradient CONFIG [--config.key=value]...

    python -m benchmarks.gpu_program h200.txtpb --gradient configs/rosecd_voicebank_student.py \
        --config.model.network.channels=32 --config.model.network.blocks=1 --config.data.frames=128

Compiles one call of the denoiser, or the gradient of a training step of a config, for the GPU that a
GpuTargetConfigProto in a text file describes. Prints, for each kind of instruction that the GPU executes, the
number of executions and the bytes that they read and write. Then follow the --top parts of the network with
the most bytes, merged over levels; a fusion counts under its root operation. Last come the minimum times of
the bytes at --bandwidth and of the networks' operations at --peak. The defaults are an H200's bandwidth, and
the measured rate of its matrix products.

Bytes come from the shapes of operands and results, or of slices where an operand is only sliced. Caches, and
what a convolution or a product reads more than once, are not counted. Without a GPU, nothing is autotuned.
Needs the compiler: pip install --no-deps jax-cuda12-plugin jax-cuda12-pjrt, of jax's version, and
nvidia-cuda-nvcc-cu12; and JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1 JAX_PLATFORMS=cpu.
"""

import argparse
import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.collectives import array_bytes
from benchmarks.memory import absent_devices
from benchmarks.timing import load, plain_errors, print_table
from benchmarks.train_step import compile_programs
from rosecd_jax.cli.train import read_config
from rosecd_jax.models import ScoreModel
from rosecd_jax.training.devices import AXIS, replicated
from rosecd_jax.training.operations import network_operations, operations_per_example
from rosecd_jax.training.step import make_step

INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\([^()]*\)|\S+) ([\w\-]+)\(([^()]*)\)(.*)")
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id"}


class Instruction(NamedTuple):
    """An instruction in XLA's text: the bytes of its result, what is in parentheses, and its attributes."""

    name: str
    bytes: int
    opcode: str
    arguments: str
    attributes: str

    def operands(self) -> list[str]:
        return re.findall(r"%([\w.\-]+)", self.arguments)

    def find(self, pattern: str) -> str:
        """Return the first group of a pattern in the attributes, or ""."""
        found = re.search(pattern, self.attributes)
        return found[1] if found else ""


Program = dict[str, dict[str, Instruction]]
"""Instructions by computation and name; "ENTRY" is the computation that is executed."""


class Cost(NamedTuple):
    """Executions of an instruction, their bytes together, and the instruction's kind and source."""

    times: int
    bytes: int
    kind: str
    source: str


def parse(text: str) -> Program:
    """Parse the text of a compiled program."""
    program: Program = {}
    here: dict[str, Instruction] = {}
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            start = line.split()[0]
            here = program.setdefault(start.lstrip("%"), {})
        elif match := INSTRUCTION.match(line):
            name, shape, *rest = match.groups()
            here[name] = Instruction(name, array_bytes(shape), *rest)
    return program


def costs(program: Program, computation: str = "ENTRY", times: int = 1) -> Iterator[Cost]:
    """Yield the costs of the instructions that are executed; a loop counts as often as it is known to run."""
    here = program[computation]
    for one in here.values():
        if one.opcode in ("while", "call"):
            trips = int(one.find(r'known_trip_count":\{"n":"(\d+)"') or 1)
            yield from costs(program, one.find(r"(?:body|to_apply)=%([\w.\-]+)"), times * trips)
        elif one.opcode not in FREE and not one.opcode.endswith("-done"):
            inner = program.get(one.find(r"calls=%([\w.\-]+)"), {})
            read = [here[operand].bytes for operand in one.operands()]
            for parameter in (i for i in inner.values() if i.opcode == "parameter"):
                users = [i for i in inner.values() if parameter.name in i.operands()]
                if users and all(i.opcode in ("slice", "dynamic-slice") for i in users):
                    number = int(parameter.arguments)
                    read[number] = min(read[number], sum(i.bytes for i in users))
            kind = kind_of(one, {i.opcode for i in inner.values()} | {one.opcode}, sum(read))
            yield Cost(times, times * (sum(read) + one.bytes), kind, source_of(one))


def kind_of(one: Instruction, opcodes: set[str], read: int) -> str:
    """Return the kind of an instruction, from the opcodes in its fusion and the bytes that it reads."""
    target = one.find(r'custom_call_target="([^"]+)"')
    if "conv" in target:
        return "convolution"
    if "dot" in opcodes or "cublas" in target or "__triton_gemm" in one.attributes:
        return "matrix product"
    if target:
        return target
    if "reduce" in opcodes:
        return "reduction"
    if one.bytes > 8 * read:
        return "broadcast"
    for kind in ("concatenate", "transpose", "copy", "pad"):
        if kind in opcodes:
            return kind
    return "conversion" if opcodes <= FREE | {"convert", "fusion"} else "elementwise"


def source_of(one: Instruction) -> str:
    """Return the last modules and the primitive of an instruction, without numbers and methods."""
    name = one.find(r'op_name="([^"]*)"')
    parts = re.sub(r"\w*\([^/]*|\w+\.\w+|checkpoint|closed_call|while|body|NCSNpp", "", name).split("/")
    short = re.sub(r"_?\d+", "", "/".join([part for part in parts if part][-3:]))
    return ("backward " if "transpose(" in name else "") + (short or one.opcode)


def compile_call(size: str, batch: int, frames: int, dtype: str, device: jax.Device) -> tuple[str, float]:
    """Compile the denoiser for a batch; return the program's text and floating-point operations."""
    model, params = load(size)
    network = dataclasses.replace(model.config.network, dtype=dtype)
    model = ScoreModel(dataclasses.replace(model.config, network=network))
    everywhere = replicated(jax.sharding.Mesh(np.array([device]), (AXIS,)))

    def shape(dimensions: tuple[int, ...], dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(dimensions, dtype, sharding=everywhere)

    params = jax.tree.map(lambda leaf: shape(leaf.shape, leaf.dtype), params)
    state = shape((batch, network.bins, frames), jnp.complex64)
    program = jax.jit(model.denoise).lower(params, state, state, shape((batch,))).compile()
    return program.as_text() or "", batch * network_operations(model, frames)


def compile_gradient(path: str, overrides: list[str], device: jax.Device) -> tuple[str, float]:
    """Compile the gradient of a config; return as `compile_call` does."""
    config = read_config(path, overrides)
    model = ScoreModel(config.model)
    teacher = ScoreModel(dataclasses.replace(config.model, role="teacher"))
    mesh = jax.sharding.Mesh(np.array([device]), (AXIS,))
    program = compile_programs(config, make_step(config, model, teacher, mesh), mesh)
    operations = operations_per_example(config, model, teacher) or 0
    return program.as_text() or "", config.data.batch_size * operations


def table(title: str, groups: Iterable[str], found: list[Cost], top: int) -> float:
    """Print executions and bytes of each group, of which `found` has one each; return all bytes."""
    total = sum(cost.bytes for cost in found)
    times, size = collections.Counter(), collections.Counter()
    for group, cost in zip(groups, found, strict=True):
        times[group] += cost.times
        size[group] += cost.bytes
    rows = [
        (g, str(times[g]), f"{n / 1e9:.3f}", f"{100 * n / total:.1f} %") for g, n in size.most_common(top)
    ]
    rows.append(("all", str(times.total()), f"{total / 1e9:.3f}", "100.0 %"))
    print_table(title, ("", "executed", "GB", "share"), rows)
    return total


def main(options: argparse.Namespace, overrides: list[str]) -> None:
    """Compile and print."""
    device = absent_devices(options.gpu)[0]
    if options.gradient:
        text, operations = compile_gradient(options.gradient, overrides, device)
    else:
        text, operations = compile_call(options.size, options.batch, options.frames, options.dtype, device)
    found = list(costs(parse(text)))
    table("kinds of instructions", (cost.kind for cost in found), found, len(found))
    sources = (f"{cost.kind}: {cost.source}" for cost in found)
    total = table("sources", sources, found, options.top)
    memory, compute = total / options.bandwidth / 1e9, operations / options.peak / 1e9
    share = 100 * memory / (memory + compute)
    print(f"{total / 1e9:.2f} GB: {memory:.2f} ms; {operations / 1e12:.3f} TFLOP: {compute:.2f} ms")
    print(f"{share:.0f} % of both is memory traffic")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("gpu", metavar="GPU.txtpb")
    parser.add_argument("--size", default="full")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--gradient", metavar="CONFIG", default="")
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--bandwidth", type=float, default=4.8, help="memory bandwidth in TB/s")
    parser.add_argument("--peak", type=float, default=790.0, help="peak of matrix products in TFLOP/s")
    options, overrides = parser.parse_known_args()
    if overrides and not options.gradient:
        parser.error(f"{overrides[0]}: only --gradient takes further options")
    with plain_errors():
        main(options, overrides)
