"""Weights as one vector during training, so that the optimizer compiles fast for any network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.models.score_model import Params
from rosecd_jax.training.state import TrainState


class Layout(NamedTuple):
    """Layout of the weights, their EMA and the optimizer's moments in the training state.

    Attributes:
      pack: parameters -> their form in the state; can be used under jit.
      unpack: inverse of `pack`.
      to_trees: a state -> the same with weights as trees (of NumPy arrays, if they were one vector), as in
        checkpoints.
      from_trees: (state with trees, state with the wanted shapes and shardings) -> state in this layout.
    """

    pack: Callable[[Params], Any]
    unpack: Callable[[Any], Params]
    to_trees: Callable[[TrainState], TrainState]
    from_trees: Callable[[TrainState, TrainState], TrainState]


TREES = Layout(
    pack=lambda params: params,
    unpack=lambda params: params,
    to_trees=lambda state: state,
    from_trees=lambda state, like: state,
)
"""Layout as trees, so that each array can be sharded."""


def one_vector(shapes: Params) -> Layout:
    """Join all arrays of a tree of float32 arrays into one vector.

    Adam and the moving average compile in 7 s on a CPU and 20 s for a GPU for the full-size network's 483
    arrays, in less than a second for one vector.
    """
    leaves, tree = jax.tree.flatten(shapes)
    *starts, size = np.cumsum([0, *(leaf.size for leaf in leaves)]).tolist()

    def pack(params: Params) -> jax.Array:
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(params)])

    def split(vector: Any) -> Params:
        parts = zip(starts, leaves, strict=True)
        return tree.unflatten(
            [vector[start : start + leaf.size].reshape(leaf.shape) for start, leaf in parts]
        )

    def split_by_variables(vector: jax.Array) -> Params:
        # XLA's CPU backend compiles equal kernels once. These barriers keep the offsets out of the slices'
        # kernels, and the slices out of the network's. On a GPU, compilation would take longer.
        offsets = jax.lax.optimization_barrier([jnp.int32(start) for start in starts])
        parts = [
            jax.lax.dynamic_slice(vector, (offset,), (leaf.size,)).reshape(leaf.shape)
            for offset, leaf in zip(offsets, leaves, strict=True)
        ]
        return jax.lax.optimization_barrier(tree.unflatten(parts))

    def unpack(vector: jax.Array) -> Params:
        return jax.lax.platform_dependent(vector, cpu=split_by_variables, default=split)

    def is_vector(leaf: Any) -> bool:
        return leaf.shape == (size,)

    def to_trees(state: TrainState) -> TrainState:
        def convert(leaf: Any) -> Any:  # a copy, since the state's buffers are donated to the next step
            return split(np.array(leaf)) if is_vector(leaf) else leaf

        opt_state = jax.tree.map(convert, state.opt_state)
        return state._replace(params=convert(state.params), ema=convert(state.ema), opt_state=opt_state)

    def from_trees(state: TrainState, like: TrainState) -> TrainState:
        def convert(target: Any, part: Any) -> Any:
            if not is_vector(target):
                return part
            vector = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(part)])
            return jax.make_array_from_callback(vector.shape, target.sharding, lambda index: vector[index])

        parts = [(like.params, state.params), (like.ema, state.ema)]
        params, ema = (convert(*part) for part in parts)
        opt_state = jax.tree.map(convert, like.opt_state, state.opt_state)
        return state._replace(params=params, ema=ema, opt_state=opt_state)

    return Layout(pack, unpack, to_trees, from_trees)
