"""A safe reader of pickles of protocols 2 to 5, which builds plain values and runs no code.

Imports and calls become a `Placeholder`, which only records them, unless the caller's table of constructors
has a function for that name. Sizes, depth and number of objects are bounded by the length of the pickle and
by `MOST_OPCODES`.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

MOST_OPCODES = 1_500_000
"""A published checkpoint with its optimizer has about 100,000; this many objects need far less than 1 GB."""
LONGEST_INTEGER = 128
"""Maximum bytes of an integer; Python can't print much longer ones."""


class PickleError(ValueError):
    """Error for a pickle that is broken or uses features that no checkpoint needs."""


class Placeholder:
    """An inert record of a class, a function or an object of unknown type.

    Attributes:
      name: qualified, for example "sgmse.data_module.SpecsDataModule".
      args: None for the class or function itself, else the arguments it was called with.
      keywords: keyword arguments of the call, or None.
      state: state of the object, or None.
      items: appended items, or None.
      entries: items set by key, or None.
    """

    __slots__ = ("args", "entries", "items", "keywords", "name", "state")

    def __init__(self, name: str, args: tuple | None = None, keywords: Any = None) -> None:
        self.name = name
        self.args = args
        self.keywords = keywords
        self.state: Any = None
        self.items: list | None = None
        self.entries: dict | None = None

    def __repr__(self) -> str:
        return f"<{'' if self.args is None else 'object of '}{self.name[:200]}>"


Constructor = Callable[..., Any]
"""Called with arguments from the pickle; raises TypeError or ValueError if they don't fit."""


def load_pickle(
    data: bytes,
    constructors: Mapping[str, Constructor],
    constants: Mapping[str, Any],
    persistent: Callable[[Any], Any],
) -> Any:
    """Build the value that a pickle describes.

    Args:
      data: the pickle.
      constructors: qualified name -> our function for it.
      constants: qualified name -> our value for it.
      persistent: maps a persistent id to its value.

    Raises:
      PickleError: if the pickle is broken or too large, has an opcode or a key that isn't supported, or calls
        a constructor with invalid arguments.
    """
    try:
        return _Reader(data, constructors, constants, persistent).run()
    except PickleError:
        raise
    except (IndexError, struct.error) as error:
        raise PickleError("it ends or is broken in the middle") from error
    except UnicodeDecodeError as error:
        raise PickleError("a string in it is not UTF-8") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise PickleError("it calls a constructor with invalid arguments") from error


_MARK = object()
_LIMIT = 2**61 - 1  # integers below it are their own hash


def check_key(key: Any) -> Any:
    """Return a key of a dictionary or set unless it allows attacks by hash collisions.

    Raises:
      PickleError: for tuples, and for numbers whose hashes can be made to collide.
    """
    if type(key) is int and abs(key) >= _LIMIT:
        raise PickleError("a dictionary or set has a huge number as its key")
    if not isinstance(key, (str, bytes, int, Placeholder, type(None))):
        raise PickleError(f"a dictionary or set has a key of type {type(key).__name__}")
    return key


class _Reader:
    """State of a pickle being read."""

    def __init__(
        self,
        data: bytes,
        constructors: Mapping[str, Constructor],
        constants: Mapping[str, Any],
        persistent: Callable[[Any], Any],
    ) -> None:
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.constructors = constructors
        self.constants = constants
        self.persistent = persistent
        self.copied = 0

    def run(self) -> Any:
        for _ in range(MOST_OPCODES):
            code = self.data[self.position]
            self.position += 1
            if code == 0x2E:  # STOP
                if len(self.stack) != 1 or self.stack[0] is _MARK:
                    raise PickleError(f"{len(self.stack)} values are left at its end instead of one")
                return self.stack[0]
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise PickleError(f"opcode 0x{code:02x} at byte {self.position - 1} is not supported")
            operation(self)
        raise PickleError(f"it has more than {MOST_OPCODES} opcodes")

    # Bytes of the pickle.

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise PickleError(f"it ends before the {count} bytes announced at byte {self.position}")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 1000)
        if end < 0:
            raise PickleError("a name in it has no end")
        return self.take(end + 1 - self.position)[:-1].decode()

    # The stack.

    def pop(self) -> Any:
        value = self.top()
        del self.stack[-1]
        return value

    def top(self) -> Any:
        value = self.stack[-1]
        if value is _MARK:
            raise PickleError("a mark stands where a value was expected")
        return value

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise PickleError("a mark is missing")

    def discard(self) -> None:
        del self.stack[-1]

    # Numbers and strings.

    def protocol(self) -> None:
        if self.number("<B") > 5:
            raise PickleError("its protocol is newer than 5")

    def frame(self) -> None:
        if self.number("<Q") > len(self.data) - self.position:
            raise PickleError("it ends before the end of a frame")

    def integer(self, length: int) -> None:
        if not 0 <= length <= LONGEST_INTEGER:
            raise PickleError(f"it holds an integer of {length} bytes")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def text(self, layout: str) -> None:
        self.push(self.take(self.number(layout)).decode())

    def string(self, layout: str) -> None:
        self.push(self.take(self.number(layout)).decode("ascii", "backslashreplace"))

    # Containers.

    def tuple_of(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        if isinstance(target, Placeholder):
            target.items = target.items if target.items is not None else []
            target = target.items
        if type(target) is not list:
            raise PickleError(f"it appends to a {type(target).__name__}")
        target.extend(values)

    def update(self, pairs: list[Any]) -> None:
        target = self.top()
        if isinstance(target, Placeholder):
            target.entries = target.entries if target.entries is not None else {}
            target = target.entries
        if not isinstance(target, dict) or len(pairs) % 2:
            raise PickleError(f"it sets {len(pairs)} keys and values in a {type(target).__name__}")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[check_key(key)] = value

    def add(self) -> None:
        values, target = self.pop_to_mark(), self.top()
        if type(target) is not set:
            raise PickleError(f"it adds to a {type(target).__name__}")
        target.update(check_key(value) for value in values)

    # Memo.

    def recall(self, layout: str) -> None:
        index = self.number(layout)
        if index not in self.memo:
            raise PickleError(f"it refers to number {index}, which it never stored")
        self.push(self.memo[index])

    # Imports and calls, which could do harm.

    def named(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str or len(module) + len(name) > 1000:
            raise PickleError("the name of a class in it is not a short string")
        module = {"__builtin__": "builtins", "numpy._core.multiarray": "numpy.core.multiarray"}.get(
            module, module
        )
        full = f"{module}.{name}"
        self.push(self.constants[full] if full in self.constants else Placeholder(full))

    def call(self, function: Any, args: Any, keywords: Any = None) -> None:
        if not isinstance(function, Placeholder) or type(args) is not tuple:
            raise PickleError(f"it calls a {type(function).__name__}")
        if keywords is not None and type(keywords) is not dict:
            raise PickleError("it calls with broken keywords")
        constructor = self.constructors.get(function.name)
        if constructor is None or function.args is not None or keywords:
            self.push(Placeholder(function.name, args, keywords))
            return
        # Calls of a few bytes may copy a value of the memo many times.
        self.copied += sum(_weight(argument) for argument in args)
        if self.copied > MOST_OPCODES:
            raise PickleError(f"it copies more than {MOST_OPCODES} values")
        self.push(constructor(*args))

    def reduce(self) -> None:
        args = self.pop()
        self.call(self.pop(), args)

    def new_with_keywords(self) -> None:
        keywords, args = self.pop(), self.pop()
        self.call(self.pop(), args, keywords)

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, Placeholder):
            target.state = state
        # Attributes of known objects (such as the `_metadata` of a state dict) are not needed.

    def stack_global(self) -> None:
        name = self.pop()
        self.named(self.pop(), name)


def _weight(value: Any) -> int:
    if isinstance(value, (str, bytes, bytearray)):
        return len(value) // 64
    return len(value) if isinstance(value, (list, tuple, dict, set, frozenset)) else 1


_OPERATIONS: dict[int, Callable[[_Reader], None]] = {
    0x80: _Reader.protocol,
    0x95: _Reader.frame,
    ord("("): lambda r: r.push(_MARK),
    ord("0"): _Reader.discard,
    ord("1"): lambda r: r.pop_to_mark().clear(),
    ord("2"): lambda r: r.push(r.top()),
    ord("N"): lambda r: r.push(None),
    0x88: lambda r: r.push(True),
    0x89: lambda r: r.push(False),
    ord("J"): lambda r: r.push(r.number("<i")),
    ord("K"): lambda r: r.push(r.number("<B")),
    ord("M"): lambda r: r.push(r.number("<H")),
    0x8A: lambda r: r.integer(r.number("<B")),
    0x8B: lambda r: r.integer(r.number("<i")),
    ord("G"): lambda r: r.push(r.number(">d")),
    0x8C: lambda r: r.text("<B"),
    ord("X"): lambda r: r.text("<I"),
    0x8D: lambda r: r.text("<Q"),
    ord("U"): lambda r: r.string("<B"),
    ord("T"): lambda r: r.string("<i"),
    ord("C"): lambda r: r.push(r.take(r.number("<B"))),
    ord("B"): lambda r: r.push(r.take(r.number("<I"))),
    0x8E: lambda r: r.push(r.take(r.number("<Q"))),
    0x96: lambda r: r.push(bytearray(r.take(r.number("<Q")))),
    ord("]"): lambda r: r.push([]),
    ord("a"): lambda r: r.extend([r.pop()]),
    ord("e"): lambda r: r.extend(r.pop_to_mark()),
    ord(")"): lambda r: r.push(()),
    ord("t"): lambda r: r.push(tuple(r.pop_to_mark())),
    0x85: lambda r: r.tuple_of(1),
    0x86: lambda r: r.tuple_of(2),
    0x87: lambda r: r.tuple_of(3),
    ord("}"): lambda r: r.push({}),
    ord("s"): lambda r: r.update([r.pop(), r.pop()][::-1]),
    ord("u"): lambda r: r.update(r.pop_to_mark()),
    0x8F: lambda r: r.push(set()),
    0x90: _Reader.add,
    0x91: lambda r: r.push(frozenset([check_key(value) for value in r.pop_to_mark()])),
    ord("q"): lambda r: r.memo.__setitem__(r.number("<B"), r.top()),
    ord("r"): lambda r: r.memo.__setitem__(r.number("<I"), r.top()),
    0x94: lambda r: r.memo.__setitem__(len(r.memo), r.top()),
    ord("h"): lambda r: r.recall("<B"),
    ord("j"): lambda r: r.recall("<I"),
    ord("c"): lambda r: r.named(r.line(), r.line()),
    0x93: _Reader.stack_global,
    ord("R"): _Reader.reduce,
    0x81: _Reader.reduce,  # NEWOBJ: the same here, since nothing is called
    0x92: _Reader.new_with_keywords,
    ord("b"): _Reader.build,
    ord("Q"): lambda r: r.push(r.persistent(r.pop())),
}
