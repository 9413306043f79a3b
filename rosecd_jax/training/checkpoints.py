"""Checkpoints of the whole training state, with orbax's CheckpointManager.

Each step is a model checkpoint (see `rosecd_jax.models.checkpoint`) with two more items: `optimiser`, and
`progress` (counts of steps, key, position of the data iterator).
"""

import contextlib
import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from rosecd_jax.config import difference, from_dict, to_dict
from rosecd_jax.models.checkpoint import STEPS_FOLDER, model_item
from rosecd_jax.models.own_network import without_modules
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.state import TrainState

ITEMS = ("raw", "ema", "optimiser", "progress", "config")
FREE = (
    *("steps", "log_every", "validation", "checkpoints", "teacher", "resume_override", "wandb_project"),
    *("profile", "peak_tflops"),
    *("data.path", "data.threads", "data.workers", "sharding", "model.network.remat"),
)
"""Fields of a TrainConfig that may change when a run is resumed, as they don't affect the result.

The last two change rounding, but a run that lacks memory needs them.
"""
ORIGINS = {
    "teacher": "another teacher (config.teacher)",
    "recordings": "other recordings (config.data.path, by their names)",
}


@dataclasses.dataclass(frozen=True)
class KeepBest:
    """A preservation policy of orbax: keep the `count` best steps by each score.

    Attributes:
      scores: returns {step: {score: value}}, higher is better; NaN counts as the worst.
      names: names of the scores used.
      count: number of steps kept for each score.
    """

    scores: Callable[[], Mapping[int, Mapping[str, float]]]
    names: tuple[str, ...]
    count: int

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Return which of the checkpoints on disk are kept."""
        del context
        scores = self.scores()
        steps = [checkpoint.step for checkpoint in checkpoints]
        best: set[int] = set()
        for name in self.names:
            best |= set(best_steps(scores, name, steps)[: self.count])
        return [step in best for step in steps]


def best_steps(
    scores: Mapping[int, Mapping[str, float]], name: str, among: Sequence[int] | None = None
) -> list[int]:
    """Sort the steps that have a score, best first; among equal ones, later steps first."""
    scored = [step for step in (scores if among is None else among) if name in scores.get(step, {})]

    def quality(step: int) -> tuple[float, int]:
        value = scores[step][name]
        return (-math.inf if math.isnan(value) else value, step)

    return sorted(scored, key=quality, reverse=True)


def digest_of_names(names: Iterable[str]) -> str:
    """Return the hexadecimal SHA-256 of the names of recordings."""
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()


class RunCheckpoints:
    """Checkpoints of one run, saved in the background. Use as a context manager.

    Args:
      workdir: directory of the run.
      config: config of the run; stored in every step.
      scores: returns the validation scores so far, which determine the steps that are kept.
      origins: digests of teacher and data by name; stored in every step.
      functions: description of the user's functions, see `functions.described`; stored in every step.
    """

    def __init__(
        self,
        workdir: Path,
        config: TrainConfig,
        scores: Callable[[], Mapping[int, Mapping[str, float]]] = dict,
        origins: Mapping[str, str] | None = None,
        functions: Mapping[str, Any] | None = None,
    ) -> None:
        manager = ocp.checkpoint_managers
        keep = config.checkpoints
        policies: list[Any] = [
            manager.LatestN(keep.keep_last),
            KeepBest(scores, ("pesq", "si_sdr"), keep.keep_best),
        ]
        policies += [manager.EveryNSteps(keep.keep_every)] if keep.keep_every else []
        self.config, self.origins, self.functions = config, dict(origins or {}), dict(functions or {})
        self.folder = (workdir / STEPS_FOLDER).absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"{self.folder} is not a folder; move it, or choose another --workdir")
        self.manager = ocp.CheckpointManager(
            self.folder,
            item_names=ITEMS,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=manager.AnyPreservationPolicy(policies),
                cleanup_tmp_directories=True,  # partial steps of a killed run
            ),
        )

    def __enter__(self) -> "RunCheckpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self.manager.close()  # waits for writes in progress

    @property
    def latest(self) -> int | None:
        """Last step on disk."""
        return self.manager.latest_step()

    @property
    def steps(self) -> list[int]:
        """All steps on disk."""
        return sorted(self.manager.all_steps())

    def save(self, state: TrainState, data_state: Any) -> None:
        """Write a step unless it exists; `data_state` has to be JSON-serializable."""
        step = int(state.step)
        if step == self.latest:
            return
        progress = {
            "step": step,
            "skipped": int(state.skipped),
            "skipped_in_a_row": int(state.skipped_in_a_row),
            "key": jax.random.key_data(state.key).tolist(),
            "data": data_state,
            "origins": self.origins,
        }
        self.manager.save(
            step,
            args=ocp.args.Composite(
                raw=ocp.args.PyTreeSave(state.params),
                ema=ocp.args.PyTreeSave(state.ema),
                optimiser=ocp.args.PyTreeSave(state.opt_state),
                progress=ocp.args.JsonSave(progress),
                config=ocp.args.JsonSave(self._stored()),
            ),
        )

    def _stored(self) -> dict[str, Any]:
        """Return the item `config`."""
        item = model_item(self.config.model) | {"train": to_dict(self.config)}
        return item | ({"functions": self.functions} if self.functions else {})

    def restore(self, like: TrainState) -> tuple[TrainState, Any]:
        """Return the last step, with the shapes and shardings of `like`, and the data iterator's position.

        Raises:
          ValueError: if it can't be read, or its arrays don't match `like`.
        """

        def tree(item: Any) -> Any:
            return ocp.args.PyTreeRestore(item, ocp.checkpoint_utils.construct_restore_args(item))

        network = "it is damaged, or, with resume_override, of another network"
        restored = self._read(
            network, raw=tree(like.params), ema=tree(like.ema), progress=ocp.args.JsonRestore()
        )
        other = "its weights can, so the run was made with another optimizer: --config.init_from takes them"
        opt_state = self._read(other, optimiser=tree(like.opt_state))["optimiser"]
        progress = restored["progress"]

        def scalars(step: jax.Array, skipped: jax.Array, in_a_row: jax.Array, key: jax.Array) -> Any:
            return step, skipped, in_a_row, jax.random.wrap_key_data(key)

        counts = [np.int32(progress[name]) for name in ("step", "skipped", "skipped_in_a_row")]
        place = jax.jit(scalars, out_shardings=like.step.sharding)
        step, skipped, in_a_row, key = place(*counts, np.array(progress["key"], np.uint32))
        weights = restored["raw"], restored["ema"], opt_state
        return TrainState(step, skipped, in_a_row, *weights, key), progress["data"]

    def check_resumable(self) -> None:
        """Raise ValueError, with the difference, if the last step on disk has another config or origin.

        Settings that don't affect the result may differ: the run's length, the logging, paths of data and
        teacher, and memory savings (sharding, rematerialization). With `resume_override`, so may any setting
        that still fits the weights on disk.
        """
        items = self._read("it is damaged", config=ocp.args.JsonRestore(), progress=ocp.args.JsonRestore())
        stored, origins = items["config"]["train"], items["progress"].get("origins", {})
        for name in origins if not self.config.resume_override else ():
            if self.origins.get(name, origins[name]) != origins[name]:
                raise ValueError(
                    f"the run in {self.folder.parent} began with {ORIGINS[name]}; restore that, use a new "
                    "--workdir, or resume anyway with --config.resume_override=True"
                )
        with contextlib.suppress(ValueError):  # written by a version with other fields
            stored = to_dict(from_dict(TrainConfig, stored))
        before = items["config"].get("functions", {})
        old = without_modules(_learnt(stored) | {"functions": before})
        new = without_modules(_learnt(to_dict(self.config)) | {"functions": self.functions})
        if old != new and not self.config.resume_override:
            lines = "\n  ".join(difference(old, new))
            raise ValueError(
                f"the run in {self.folder.parent} began with another config; use a new --workdir, or "
                f"resume anyway with --config.resume_override=True:\n  {lines}"
            )

    def _read(self, why: str, /, **items: Any) -> Any:
        """Read items of the last step; the ValueError if that fails gives the reason and the remedy."""
        try:
            return self.manager.restore(self.latest, args=ocp.args.Composite(**items))
        except Exception as error:  # orbax has no error type of its own
            before = self.steps[:-1]
            earlier = f"from step {before[-1]}, to the same weights" if before else "from the beginning"
            cause = str(error).strip("\"'").partition("\n")[0][:300]
            raise ValueError(
                f"{self.folder / str(self.latest)} cannot be read: {why} ({cause}). Move it out of that "
                f"folder, and the run resumes {earlier}"
            ) from error


def _learnt(config: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Remove the fields of a stored TrainConfig that may change."""
    return {
        name: _learnt(value, f"{where}{name}.") if isinstance(value, Mapping) else value
        for name, value in config.items()
        if f"{where}{name}" not in FREE
    }
