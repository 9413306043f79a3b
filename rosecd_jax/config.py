"""Conversion of config dataclasses to and from plain JSON values, and checks of their fields."""

import dataclasses
import functools
import math
import numbers
import operator
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
FLOAT32_MAX = float(np.finfo(np.float32).max)
NOTHING: Mapping[str, float] = types.MappingProxyType({})


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a config dataclass to nested dicts of JSON values (JSON writes tuples as lists)."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, np.generic):
            return value.item()
        return tuple(plain(v) for v in value) if isinstance(value, (tuple, list)) else value

    return plain(config)


def from_dict(cls: type[T], values: Mapping[str, Any], where: str = "config") -> T:
    """Build a config dataclass from nested dicts; fields left out keep their defaults.

    Args:
      cls: the dataclass.
      values: the output of `to_dict`.
      where: name of this part in error messages, for example "config.model".

    Raises:
      ValueError: naming the field that is unknown or of a wrong type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is {repr(values)[:200]}, expected the fields of {cls.__name__}")
    hints = typing.get_type_hints(cls)
    new_names = getattr(cls, "new_names", {})
    values = {new_names.get(name, name): value for name, value in values.items()}
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{where} has no field {unknown[0]!r}; it has {', '.join(hints)}")
    return cls(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} is {value!r}, expected the fields of {hint.__name__}")
        return from_dict(hint, value, where)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where} is {value!r}, expected a sequence")
        return tuple(_convert(inner[0], v, where) for v in value)
    if origin is typing.Literal:
        if value not in inner:
            raise ValueError(f"{where} is {value!r}, expected one of {inner}")
        return value
    if origin is types.UnionType:
        if all(dataclasses.is_dataclass(choice) for choice in inner):
            return _convert(_alternative(inner, value, where), value, where)
        return None if value is None else _convert(inner[0], value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"{where} is {value!r}, expected {getattr(hint, '__name__', hint)}")
    return value


def _alternative(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    """Select the dataclass of a union by the value's `kind`; the first if the value has none."""
    kinds = {choice.kind: choice for choice in choices}
    default = choices[0].kind
    kind = value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", default)
    if kind not in kinds:
        raise ValueError(f"{where}.kind is {kind!r}, expected one of {tuple(kinds)}")
    return kinds[kind]


def renamed(**new_names: str) -> Callable[[type[T]], type[T]]:
    """Decorate a config dataclass so that old field names work in dicts, as keywords and as attributes."""

    def decorate(cls: type[T]) -> type[T]:
        make = cls.__init__

        @functools.wraps(make)
        def init(self: T, *values: Any, **fields: Any) -> None:
            old = {new_names[name]: fields.pop(name) for name in new_names if name in fields}
            make(self, *values, **fields | old)

        setattr(cls, "__init__", init)  # noqa: B010 (type checkers refuse an assignment)
        setattr(cls, "new_names", new_names)  # noqa: B010
        for old, new in new_names.items():
            setattr(cls, old, property(operator.attrgetter(new)))
        return cls

    return decorate


def check_fields(
    config: Any,
    where: str = "",
    *,
    least: Mapping[str, float] = NOTHING,
    above: Mapping[str, float] = NOTHING,
    most: Mapping[str, float] = NOTHING,
) -> None:
    """Check the types of a config's fields, and bounds of its numbers.

    Args:
      config: a dataclass; each field is checked against its annotation. A list or range in place of a tuple
        is converted to one.
      where: prefix of field names in error messages, for example "data.".
      least: inclusive lower bound of a field, or of each number in it, by name.
      above: exclusive lower bound, likewise.
      most: inclusive upper bound, likewise.

    Raises:
      ValueError: naming the field. NaN and numbers beyond float32's range are refused, and infinity in the
        fields of `least` and `above`.
    """
    hints = typing.get_type_hints(type(config))
    names = [field.name for field in dataclasses.fields(config) if field.init]
    for name in names:
        hint, value = hints[name], getattr(config, name)
        if typing.get_origin(hint) is tuple and isinstance(value, (list, range)):
            value = tuple(value)
            object.__setattr__(config, name, value)  # configs are frozen
        if typing.get_origin(hint) is typing.Literal:
            _convert(hint, value, f"{where}{name}")
        elif expected := _expected(hint, value):
            advice = " (config.from_dict converts a dict)" if isinstance(value, Mapping) else ""
            raise ValueError(f"{where}{name} is {repr(value)[:200]}, it has to be {expected}{advice}")

    def check(name: str, is_valid: Callable[[Any], bool], condition: str) -> None:
        value = getattr(config, name)
        is_tuple = isinstance(value, tuple)
        found = [each for each in (value if is_tuple else (value,)) if isinstance(each, numbers.Real)]
        if not all(map(is_valid, found)):
            number = "a tuple of numbers" if is_tuple else "a number"
            raise ValueError(f"{where}{name} is {value}, it has to be {number} {condition}")

    for name, bound in least.items():
        check(name, lambda number, bound=bound: bound <= number < math.inf, f"of at least {bound:g}")
    for name, bound in above.items():
        check(name, lambda number, bound=bound: bound < number < math.inf, f"above {bound:g}")
    for name, bound in most.items():
        check(name, lambda number, bound=bound: number <= bound, f"up to {bound:,}")
    for name in names:
        check(name, lambda number: number == number, "other than NaN")
        if hints[name] is not int:  # these are seeds and counts
            fits = lambda number: abs(number) <= FLOAT32_MAX or abs(number) == math.inf  # noqa: E731
            check(name, fits, f"that float32 holds, up to {FLOAT32_MAX:.1e}")


_KINDS = {
    bool: (bool, "True or False", "True or False"),
    float: (numbers.Real, "a number", "numbers"),
    int: (numbers.Integral, "a whole number", "whole numbers"),
    str: (str, "a string", "strings"),
    type(None): (type(None), "None", "None"),
}
"""Annotation -> accepted types, and their description in singular and plural."""


def _expected(hint: Any, value: Any) -> str:
    """Describe the values that an annotation allows; empty if `value` is one of them."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        expected = [_expected(choice, value) for choice in inner]
        return " or ".join(expected) if all(expected) else ""
    if origin is tuple:
        is_valid = isinstance(value, tuple) and not any(_expected(inner[0], each) for each in value)
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        if is_valid and (not count or len(value) == len(inner)):
            return ""
        return f"a tuple of {count}{_KINDS[inner[0]][2]}"
    if hint in _KINDS:
        kind, description, _ = _KINDS[hint]
        is_valid = isinstance(value, kind) and (hint is bool or not isinstance(value, bool))
        return "" if is_valid else description
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and not isinstance(value, hint):
        return f"of class {hint.__name__}"
    return ""


def difference(a: Mapping[str, Any], b: Mapping[str, Any], where: str = "") -> list[str]:
    """List the fields in which two nested dicts differ, each as "field: value in a -> value in b"."""
    lines = []
    for name in sorted(set(a) | set(b)):
        left, right, path = a.get(name), b.get(name), f"{where}{name}"
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            lines += difference(left, right, f"{path}.")
        elif left != right:
            lines.append(f"{path}: {left!r} -> {right!r}")
    return lines


def plain_json(value: Any, digits: int = 6) -> Any:
    """Convert nested results to JSON values: floats rounded to `digits`, null for nan and infinity."""
    if isinstance(value, Mapping):
        return {key: plain_json(entry, digits) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(entry, digits) for entry in value]
    if isinstance(value, float | np.floating):
        return round(float(value), digits) if math.isfinite(value) else None
    return value
