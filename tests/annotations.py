"""How calls are held against the shapes in annotations; conftest.py says whose calls."""

import beartype
import jax

SymbolicSize = type(jax.export.symbolic_shape("n")[0])
"""Of an axis that jax.export leaves open; it passes for an int, as an int does for a float."""
overrides = beartype.FrozenDict({int: int | SymbolicSize, float: float | int})
checked = beartype.beartype(conf=beartype.BeartypeConf(hint_overrides=overrides))


def check(function):
    """The function, its arguments and result checked where it takes or gives arrays of jaxtyping's types.

    Others check what they are given by themselves, as configs do, and say in words what is wrong.
    """
    arrays = any("jaxtyping." in repr(annotation) for annotation in function.__annotations__.values())
    return checked(function) if arrays else function
