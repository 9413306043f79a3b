"""How calls are held against the shapes in annotations; conftest.py says whose calls."""

import beartype

ints_as_floats = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


def check(function):
    """The function, its arguments and result checked where it takes or gives arrays of jaxtyping's types.

    Others check what they are given by themselves, as configs do, and say in words what is wrong.
    """
    arrays = any("jaxtyping." in repr(annotation) for annotation in function.__annotations__.values())
    return ints_as_floats(function) if arrays else function
