"""Checking of calls against the shapes in annotations; conftest.py says of which modules."""

import functools

import beartype
import jax

SymbolicSize = type(jax.export.symbolic_shape("n")[0])
"""Type of an axis that jax.export leaves open; it passes for an int, as an int does for a float."""
overrides = beartype.FrozenDict({int: int | SymbolicSize, float: float | int})
checked = beartype.beartype(conf=beartype.BeartypeConf(hint_overrides=overrides))


def check(function):
    """Check the arguments and result of a function that takes or gives arrays of jaxtyping's types.

    Calls with open axes are not checked, since jaxtyping cannot broadcast these. Functions without such
    arrays, as configs, check their arguments by themselves and raise errors in words.
    """
    if not any("jaxtyping." in repr(annotation) for annotation in function.__annotations__.values()):
        return function
    checking = checked(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        sizes = [size for leaf in jax.tree.leaves((args, kwargs)) for size in getattr(leaf, "shape", ())]
        open_axes = any(isinstance(size, SymbolicSize) for size in sizes)
        return (function if open_axes else checking)(*args, **kwargs)

    return call
