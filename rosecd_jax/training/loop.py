"""The training loop."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rosecd_jax.compilation import keep_compiled_programs
from rosecd_jax.config import difference, to_dict
from rosecd_jax.conversion.checkpoint import load_any_checkpoint
from rosecd_jax.data.loader import Share, open_source, training_batches
from rosecd_jax.data.mixing import Mixer
from rosecd_jax.data.pairs import DataError
from rosecd_jax.models.score_model import ModelConfig, Params, ScoreModel
from rosecd_jax.training.checkpoints import (
    RunCheckpoints,
    best_steps,
    digest_of_names,
    digest_of_weights,
)
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.curves import ManyCurves, TensorBoardCurves, WandbCurves
from rosecd_jax.training.devices import check_batch, make_mesh, place, place_batch, state_shardings
from rosecd_jax.training.progress import Progress
from rosecd_jax.training.state import TrainState
from rosecd_jax.training.status import Announced, Status
from rosecd_jax.training.step import Step, Waves, make_step
from rosecd_jax.training.validation import Validation, read_validation_pairs, training_part
from rosecd_jax.training.workdir import StopRequest, WorkdirLock

BATCHES_AHEAD = 2
"""How many batches are on their way to the devices while one is used."""


class TrainingStopped(RuntimeError):
    """A run that can't go on; its last checkpoint is sound. The message says why, and the remedy."""


def train(config: TrainConfig, workdir: str | Path, echo: Callable[[str], None] = print) -> TrainState:
    """Train, or go on training, in `workdir`; checkpoints, curves and validation.json are written there.

    A run that is killed and started again ends with the very weights of one that was not. SIGTERM and Ctrl-C
    end it after the step that it is in, with a checkpoint.

    Args:
      config: what to train.
      workdir: one directory a run. If it holds checkpoints, the run resumes at the last one.
      echo: takes the log lines.

    Returns:
      The last state.

    Raises:
      ValueError: if data, teacher, batch size or a resumed run's config don't fit, or another process works
        in the directory; before any training.
      TrainingStopped: after too many steps in a row whose loss, gradient or new weights were not finite.
    """
    workdir, first_process = Path(workdir), jax.process_index() == 0
    keep_compiled_programs()

    with ExitStack() as stack:
        echo = stack.enter_context(Status(echo if first_process else lambda line: None))
        mesh = make_mesh()
        echo(f"{config.objective} on {mesh.size} x {mesh.devices.flat[0].device_kind}, jax {jax.__version__}")
        check_batch(config.data.batch_size, mesh)
        model = ScoreModel(config.model)
        front = model.front_end
        with echo.doing("opening the data"):
            found = open_source(config.data, front.sample_rate)
            source = training_part(config, found)
            pairs = read_validation_pairs(config, model, found)
        if isinstance(found, Mixer):
            for library in found.libraries:
                echo(library.summary())
        with echo.doing("loading weights", announce=bool(config.teacher or config.init_from)):
            teacher, frozen, params = load_teacher(config)
            origins = {"recordings": digest_of_names(source.names)}
            origins |= {"teacher": digest_of_weights(frozen)} if frozen else {}
            given = load_initial_weights(config)
            params = params if given is None else given
            frozen = place(frozen, state_shardings(mesh, frozen, config.sharding))
        step = announced(make_step(config, model, teacher, mesh), echo)
        if first_process:
            stack.enter_context(WorkdirLock(workdir))
        curves = open_curves(config, workdir) if first_process else ManyCurves()
        stack.callback(curves.close)
        validation = stack.enter_context(Validation(config, model, pairs, step, mesh, workdir, curves, echo))
        checkpoints = stack.enter_context(RunCheckpoints(workdir, config, lambda: validation.scores, origins))
        stop = stack.enter_context(StopRequest())

        key_init, key_run = jax.random.split(jax.random.key(config.seed))
        with echo.doing("initializing the state"):
            params = model.init(key_init) if params is None else params
            state = step.init(jax.device_get(params), np.asarray(jax.random.key_data(key_run)))
        taken = 0  # batches: where the data iterator stands
        if checkpoints.latest is not None:
            with echo.doing(f"restoring step {checkpoints.latest}"):
                checkpoints.check_resumable()
                restored, taken = checkpoints.restore(step.layout.to_trees(state))
                state = step.layout.from_trees(restored, state)
            echo(f"resumed at step {int(state.step)} from {workdir}")
        number = int(state.step)
        validation.forget_after(number)

        share = Share(jax.process_index(), jax.process_count())
        samples = front.samples(config.data.frames)
        crops = training_batches(source, config.data, samples, config.seed, taken, share)
        stack.callback(crops.close)
        batches = ahead(place_batch(Waves(batch["clean"], batch["noisy"]), mesh) for batch in crops)
        progress = stack.enter_context(Progress(config, number, samples / front.sample_rate, curves, echo))

        def validate() -> None:
            progress.pause()
            with echo.doing(f"validating step {number}", announce=False):
                validation.start(state, frozen)
            progress.go_on()

        def save(last: bool) -> None:
            with echo.doing(f"saving step {number}", announce=False):
                save_step(last)

        def save_step(last: bool) -> None:
            progress.pause()
            # Which checkpoints stay depends on the scores. A run that is killed while it waits for them loses
            # only the steps since that validation: it began with a checkpoint, and is made anew.
            for done in validation.collect(wait=True):
                echo(validation.line(done))
            if int(state.skipped_in_a_row) and not last:
                # The weights are finite, but may have grown too large to learn on with: keep earlier ones.
                echo(f"no checkpoint at step {number}: it was skipped, for it was not finite")
            else:
                checkpoints.save(step.layout.to_trees(state), taken)
            progress.go_on()

        def next_batches() -> list[Waves]:
            try:
                return [next(batches) for _ in range(config.optimiser.accumulate)]
            except DataError:  # a damaged recording: nothing that was learnt gets lost
                if jax.process_count() == 1:
                    save(last=True)
                raise

        if validation.due(number):  # its scores were lost with the process that was to compute them
            validate()
        while number < config.steps:
            with progress.step(number + 1):
                state, metrics = step(state, frozen, next_batches())
                number, taken = number + 1, taken + config.optimiser.accumulate
                means = progress.add(number, metrics)
            if means.get("skipped_in_a_row", 0) >= config.optimiser.skips_in_a_row:
                saved = checkpoints.latest
                raise TrainingStopped(
                    "loss, gradient or new weights were not finite "
                    f"{means['skipped_in_a_row']:.0f} times in a row, up to step {number}; "
                    + (f"the last checkpoint in {workdir} is of step {saved}. " if saved else "")
                    + "Try a lower learning rate, --config.optimiser.gradient_clip, or float32"
                    + (", with --config.resume_override=True" if saved else "")
                )
            reason, due = stop.after(number), validation.due(number)
            last = bool(reason) or number == config.steps
            if last or due or number % config.checkpoints.every == 0:
                save(last)
            if reason and number < config.steps:
                echo(f"{reason}: stopped at step {number}; the same command goes on from there")
                break
            if due:
                validate()
            for done in validation.collect():
                echo(validation.line(done))
        for done in validation.collect(wait=True):
            echo(validation.line(done))
        for name in ("pesq", "si_sdr") if validation.scores else ():
            best = best_steps(validation.scores, name, checkpoints.steps)
            if best:
                echo(f"best validation {name} {validation.scores[best[0]][name]:.3g}: checkpoints/{best[0]}")
    return step.layout.to_trees(state)


def announced(step: Step, status: Status) -> Step:
    """The same step, whose programs say when they are compiled."""
    names = {"add_gradient": "the gradient", "apply": "the update", "loss": "the validation loss"}
    programs = {name: Announced(getattr(step, name), words, status) for name, words in names.items()}
    return step._replace(**programs)


def load_teacher(config: TrainConfig) -> tuple[ScoreModel | None, Params, Params | None]:
    """(teacher, its averaged weights, raw weights to start from); None or {} where the objective has no use.

    Raises:
      ValueError: if the teacher's checkpoint can't be read, or the student's front end, process or network
        differ from the teacher's. In which precision they compute doesn't count.
    """
    if not config.teacher or config.objective not in ("distillation", "consistency-training"):
        return None, {}, None
    teacher, raw = load_any_checkpoint(config.teacher, "raw")
    what = f"the student must be built as its teacher {config.teacher} is"
    check_alike(config.model, teacher.config, ("front_end", "sde", "network"), what)
    if config.objective == "consistency-training":
        return None, {}, raw
    return teacher, load_any_checkpoint(config.teacher, "ema")[1], raw


def load_initial_weights(config: TrainConfig) -> Params | None:
    """The weights that `config.init_from` names, or None where it names none.

    Raises:
      ValueError: if they can't be read, or belong to another front end or network.
    """
    if not config.init_from:
        return None
    model, params = load_any_checkpoint(config.init_from, config.init_weights)
    what = f"the model must be built as {config.init_from} is, whose weights it starts from"
    check_alike(config.model, model.config, ("front_end", "network"), what)
    return params


def check_alike(ours: ModelConfig, theirs: ModelConfig, parts: Sequence[str], what: str) -> None:
    """Raise ValueError, with `what` and the differences, if parts of two models differ, precision aside."""
    described = [{part: to_dict(getattr(config, part)) for part in parts} for config in (theirs, ours)]
    for network in (one["network"] for one in described):
        for how in ("dtype", "remat"):
            network.pop(how)
    if lines := difference(described[0], described[1]):
        raise ValueError("\n  ".join([f"{what}:", *lines]))


def open_curves(config: TrainConfig, workdir: Path) -> ManyCurves:
    """Every writer that the config asks for, as one."""
    tensorboard = TensorBoardCurves(workdir / "tensorboard")
    if not config.wandb_project:
        return ManyCurves(tensorboard)
    return ManyCurves(tensorboard, WandbCurves(workdir, config.wandb_project, to_dict(config)))


def ahead(batches: Iterator[Any], count: int = BATCHES_AHEAD) -> Iterator[Any]:
    """The same batches, each made and sent to the devices while earlier ones are still used."""
    waiting: deque[Any] = deque()
    for batch in batches:
        waiting.append(batch)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting
