"""Networks that try to harm who converts them, for test_torch_hostile.py: their files can be read."""

import math
from collections.abc import Callable, Mapping

from rosecd_jax.conversion.parameters import parameter_names, parameter_shapes
from rosecd_jax.models import NCSNppConfig
from tests.conversion.hostile import INERT, Case, archive, number, numbers, rebuilt, tensor, text

STATE = text("state_dict") + b"}("
HYPER = text("hyper_parameters") + b"}(" + text("backbone") + text("ncsnpp_v2") + text("sde") + text("ouve")
SMALL = NCSNppConfig(channels=4)


def network(
    parameters: Mapping[str, bytes],
    members: dict[str, bytes],
    config: NCSNppConfig = SMALL,
    deflated: bool = True,
) -> bytes:
    """A checkpoint of the authors with these parameters (opcodes by name)."""
    sizes = {"nf": config.channels, "num_res_blocks": config.blocks}
    hyper = HYPER + b"".join(text(name) + number(value) for name, value in sizes.items())
    hyper += text("ch_mult") + numbers(config.multipliers)
    hyper += text("attn_resolutions") + numbers(config.attention_heights)
    state = STATE + b"".join(text(f"dnn.{name}") + tensor for name, tensor in parameters.items())
    return archive(b"\x80\x02}(" + hyper + b"u" + state + b"uu.", members, deflated)


def each(place: Callable[[int, tuple[int, ...]], bytes], config: NCSNppConfig = SMALL) -> dict[str, bytes]:
    """Every parameter of a network, placed by its number and shape."""
    shapes = parameter_shapes(config)
    return {name: place(index, shape) for index, (name, shape) in enumerate(shapes.items())}


def rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a contiguous tensor."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def far_apart(shape: tuple[int, ...], room: int) -> tuple[int, ...]:
    """Strides with which a tensor reaches over about so many numbers."""
    return tuple((room - 1) // max(1, sum(shape) - len(shape)) for _ in shape)


MANY = 2_000_000
ZEROS = bytes(4 * MANY)
DEEP = NCSNppConfig(channels=4, multipliers=(1,) * 9, blocks=64)
ESCAPES = "\x1b[2J\x1b]0;title\x07"


CASES = [
    Case(
        "parameters that repeat one number",
        network(each(lambda _, shape: rebuilt(shape, (0,) * len(shape))), {"data/0": bytes(4)}),
        INERT,
        "looks like a bomb",
    ),
    Case(
        "parameters that all are one storage",
        network(each(lambda _, shape: rebuilt(shape, rows(shape))), {"data/0": bytes(4 * 4096)}),
        INERT,
        "looks like a bomb",
    ),
    Case(
        "parameters by turns from two bombs",
        network(
            each(lambda index, shape: rebuilt(shape, rows(shape), key=str(index % 2))),
            {"data/0": ZEROS, "data/1": ZEROS},
        ),
        INERT,
        "looks like a bomb",
    ),
    Case(
        "parameters far apart",
        network(
            each(lambda _, shape: rebuilt(shape, far_apart(shape, MANY))), {"data/0": ZEROS}, deflated=False
        ),
        INERT,
        "looks like a bomb",
    ),
    Case(
        "a network that takes for ever to be laid out",
        network({name: rebuilt((1,), (1,)) for name in parameter_names(DEEP)}, {"data/0": bytes(4)}, DEEP),
        INERT,
        "'num_res_blocks' is 64",
    ),
    Case(
        "a parameter of an endless name",
        network({"x" * 1_000_000: rebuilt((1,), (1,))}, {"data/0": bytes(4)}),
        INERT,
        "unknown: .'xxx",
    ),
    Case(
        "a parameter that commands the terminal",
        network({ESCAPES: b"N"}, {}),
        INERT,
        r"parameter '\\x1b\[2J\\x1b\]0;title\\x07' is not a tensor",
    ),
    Case(
        "a storage that commands the terminal",
        tensor(kind=b"torch\n" + ESCAPES.encode()),
        r"'\\x1b\[2J\\x1b\]0;title\\x07' are not known",
    ),
]
