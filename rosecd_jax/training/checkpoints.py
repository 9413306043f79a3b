"""The whole training state on disk, by orbax's CheckpointManager.

Each step is a model checkpoint (see `rosecd_jax.models.checkpoint`) with two more items: `optimiser`, and
`progress` (update count, key, position of the data iterator).
"""

import json
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from rosecd_jax.models.checkpoint import STEPS_FOLDER, model_item
from rosecd_jax.models.config import to_dict
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.state import TrainState

ITEMS = ("raw", "ema", "optimiser", "progress", "config")


class RunCheckpoints:
    """Saves and restores the steps of one run; saving goes on in the background. Use as a context."""

    def __init__(self, workdir: Path, config: TrainConfig) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=config.keep)
        self.config = config
        self.manager = ocp.CheckpointManager(
            (workdir / STEPS_FOLDER).absolute(), item_names=ITEMS, options=options
        )

    def __enter__(self) -> "RunCheckpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self.manager.close()  # waits for what is being written

    @property
    def latest(self) -> int | None:
        """The last step on disk."""
        return self.manager.latest_step()

    def save(self, state: TrainState, data_state: Any) -> None:
        """Write a step, unless it is there already."""
        step = int(state.step)
        if step == self.latest:
            return
        key = jax.random.key_data(state.key).tolist()
        progress = {"step": step, "key": key, "data": json.dumps(data_state)}
        self.manager.save(
            step,
            args=ocp.args.Composite(
                raw=ocp.args.PyTreeSave(state.params),
                ema=ocp.args.PyTreeSave(state.ema),
                optimiser=ocp.args.PyTreeSave(state.optimiser),
                progress=ocp.args.JsonSave(progress),
                config=ocp.args.JsonSave(model_item(self.config.model) | {"train": to_dict(self.config)}),
            ),
        )

    def restore(self, like: TrainState) -> tuple[TrainState, Any]:
        """The last step, with the shapes and shardings of `like`, and the position of the data iterator."""

        def tree(item: Any) -> Any:
            return ocp.args.PyTreeRestore(item, ocp.checkpoint_utils.construct_restore_args(item))

        restored = self.manager.restore(
            self.latest,
            args=ocp.args.Composite(
                raw=tree(like.params),
                ema=tree(like.ema),
                optimiser=tree(like.optimiser),
                progress=ocp.args.JsonRestore(),
            ),
        )
        progress = restored["progress"]
        state = TrainState(
            jax.device_put(jax.numpy.int32(progress["step"]), like.step.sharding),
            restored["raw"],
            restored["ema"],
            restored["optimiser"],
            jax.device_put(
                jax.random.wrap_key_data(jax.numpy.array(progress["key"], "uint32")), like.key.sharding
            ),
        )
        return state, json.loads(progress["data"])

    def stored_config(self) -> dict[str, Any]:
        """The TrainConfig of the last step, as nested dicts."""
        item = ocp.args.Composite(config=ocp.args.JsonRestore())
        return self.manager.restore(self.latest, args=item)["config"]["train"]
