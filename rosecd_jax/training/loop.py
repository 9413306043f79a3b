"""The training loop."""

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from rosecd_jax.config import difference, to_dict
from rosecd_jax.conversion.lightning import load_any_checkpoint, open_any_checkpoint
from rosecd_jax.data.loader import Share, open_source, training_batches
from rosecd_jax.data.mixing import MixConfig, Mixer
from rosecd_jax.data.pairs import DataError
from rosecd_jax.models.checkpoint import digest_of_weights
from rosecd_jax.models.score_model import ModelConfig, Params, ScoreModel
from rosecd_jax.processes import keep_compiled_programs
from rosecd_jax.training.checkpoints import RunCheckpoints, best_steps, digest_of_names
from rosecd_jax.training.config import OF_STUDENTS, TrainConfig
from rosecd_jax.training.curves import ManyCurves, TensorBoardCurves, WandbCurves
from rosecd_jax.training.devices import check_batch, make_mesh, place, place_batch, state_shardings
from rosecd_jax.training.functions import AS_CONFIGURED, Functions, described
from rosecd_jax.training.interruption import StopRequest, WorkdirLock
from rosecd_jax.training.logging import Progress
from rosecd_jax.training.operations import operations_per_example
from rosecd_jax.training.profile import Profile, keep_names
from rosecd_jax.training.state import TrainState
from rosecd_jax.training.status import Announced, Status
from rosecd_jax.training.step import Step, Waves, make_step
from rosecd_jax.training.validation import Validation, read_validation_pairs, training_part

BATCHES_AHEAD = 2
"""Number of batches transferred to the devices ahead of the one in use."""


class TrainingStopped(RuntimeError):
    """Error for a run that cannot continue; its last checkpoint is intact. The message has the remedy."""


def train(
    config: TrainConfig,
    workdir: str | Path,
    echo: Callable[[str], None] = print,
    functions: Functions = AS_CONFIGURED,
) -> TrainState:
    """Train, or resume training, in `workdir`; write checkpoints, curves and validation.json there.

    A run that is killed and restarted ends with the same weights as an uninterrupted one. SIGTERM and Ctrl-C
    end it after the current step, with a checkpoint.

    Args:
      config: config of the run.
      workdir: directory of the run. If it holds checkpoints, the run resumes from the last one.
      echo: receives the log lines.
      functions: user-defined loss, optimizer, network or solver. Their names are stored; resuming requires
        the same ones.

    Returns:
      The last state.

    Raises:
      ValueError: before any training, if data, teacher, batch size or a resumed run's config don't fit, or
        another process uses the directory.
      TrainingStopped: after too many steps in a row whose loss, gradient or new weights were not finite.
    """
    keep_compiled_programs()
    with ExitStack() as stack:
        if config.profiled:
            keep_names(stack)
        status = stack.enter_context(Status(echo if jax.process_index() == 0 else lambda line: None))
        run = open_run(config, Path(workdir), status, stack, functions)
        run.train()
    return run.step.layout.to_trees(run.state)


@dataclasses.dataclass
class Run:
    """A training run in progress.

    Attributes:
      frozen: the teacher's weights, {} without one.
      batches: batches of waves, on the devices.
      state: state after `number` steps, which used `taken` batches.
    """

    config: TrainConfig
    workdir: Path
    echo: Status
    step: Step
    frozen: Params
    batches: Iterator[Waves]
    validation: Validation
    checkpoints: RunCheckpoints
    progress: Progress
    profile: Profile
    stop: StopRequest
    state: TrainState
    number: int
    taken: int

    def train(self) -> None:
        """Run the remaining steps with validations and checkpoints, unless stopped by a signal."""
        config, validation = self.config, self.validation
        if validation.due(self.number):  # its scores were lost with an earlier process
            self.validate()
        while self.number < config.steps:
            self.advance()
            reason, due = self.stop.after(self.number), validation.due(self.number)
            last = bool(reason) or self.number == config.steps
            if last:
                self.profile.end()
            if last or due or self.number % config.checkpoints.every == 0:
                self.save(last)
            if reason and self.number < config.steps:
                self.echo(f"{reason}: stopped at step {self.number}; the same command resumes there")
                break
            if due:
                self.validate()
            self.log_scores()
        self.log_scores(wait=True)
        for name in ("pesq", "si_sdr") if validation.scores else ():
            if best := best_steps(validation.scores, name, self.checkpoints.steps):
                score = validation.scores[best[0]][name]
                self.echo(f"best validation {name} {score:.3g}: checkpoints/{best[0]}")

    def advance(self) -> None:
        """Run one step; raise TrainingStopped if too many in a row were not finite."""
        with self.progress.step(self.number + 1), self.profile.step(self.number + 1):
            with self.progress.waiting_for_data():
                batches = self.next_batches()
            self.state, metrics = self.step(self.state, self.frozen, batches)
            self.number, self.taken = self.number + 1, self.taken + self.config.optimizer.accumulate
            means = self.progress.add(self.number, metrics)
        self.profile.after(self.number, metrics)
        skipped = means.get("skipped_in_a_row", 0)
        if skipped < self.config.optimizer.skips_in_a_row:
            return
        saved = self.checkpoints.latest
        raise TrainingStopped(
            f"loss, gradient or new weights were not finite {skipped:.0f} times in a row, up to step "
            f"{self.number}; "
            + (f"the last checkpoint in {self.workdir} is of step {saved}. " if saved else "")
            + "Try a lower learning rate, --config.optimizer.gradient_clip, or float32"
            + (", with --config.resume_override=True" if saved else "")
        )

    def next_batches(self) -> list[Waves]:
        """Return the batches of one step. A damaged recording raises DataError, after a checkpoint."""
        try:
            return [next(self.batches) for _ in range(self.config.optimizer.accumulate)]
        except DataError:
            if jax.process_count() == 1:
                self.save(last=True)
            raise

    def validate(self) -> None:
        self.progress.pause()
        with self.echo.doing(f"validating step {self.number}", announce=False):
            self.validation.start(self.state, self.frozen)
        self.progress.unpause()

    def save(self, last: bool) -> None:
        """Write a checkpoint, unless the last step was skipped and the run continues.

        Pending scores are awaited, as they determine which checkpoints are kept. A run killed meanwhile loses
        only the steps since that validation, which began with a checkpoint.
        """
        with self.echo.doing(f"saving step {self.number}", announce=False):
            self.progress.pause()
            self.log_scores(wait=True)
            if int(self.state.skipped_in_a_row) and not last:
                # The weights are finite, but may have become too large to continue: keep earlier ones.
                self.echo(f"no checkpoint at step {self.number}: the step was skipped as not finite")
            else:
                self.checkpoints.save(self.step.layout.to_trees(self.state), self.taken)
            self.progress.unpause()

    def log_scores(self, wait: bool = False) -> None:
        """Log the validations whose scores are complete, or wait for all."""
        for done in self.validation.collect(wait):
            self.echo(self.validation.line(done))


def open_run(
    config: TrainConfig,
    workdir: Path,
    echo: Status,
    stack: ExitStack,
    functions: Functions = AS_CONFIGURED,
) -> Run:
    """Create a run, whose resources `stack` closes; arguments and errors are those of `train`."""
    mesh, first_process = make_mesh(), jax.process_index() == 0
    echo(f"{config.objective} on {mesh.size} x {mesh.devices.flat[0].device_kind}, jax {jax.__version__}")
    check_batch(config.data.batch_size, mesh)
    model = ScoreModel(config.model, functions.network)
    config = dataclasses.replace(config, model=model.config)  # with the description of a custom network
    source, pairs = open_data(config, model, echo)
    with echo.doing("loading weights", announce=bool(config.teacher or config.init_from)):
        teacher, frozen, params = load_teacher(config, functions.network)
        origins = {"recordings": digest_of_names(source.names)}
        origins |= {"teacher": digest_of_weights(frozen)} if frozen else {}
        given = load_initial_weights(config, functions.network)
        frozen = place(frozen, state_shardings(mesh, frozen, config.sharding))
    step = announced(make_step(config, model, teacher, mesh, functions), echo)
    if first_process:
        stack.enter_context(WorkdirLock(workdir))
    curves = open_curves(config, workdir) if first_process else ManyCurves()
    stack.callback(curves.close)
    validation = stack.enter_context(Validation(config, model, pairs, step, mesh, workdir, curves, echo))
    notes = described(functions)
    for role, note in notes.items():
        echo(f"{role}: {note['name']}")
    saved = RunCheckpoints(workdir, config, lambda: validation.scores, origins, notes)
    checkpoints = stack.enter_context(saved)
    stop = stack.enter_context(StopRequest())
    state, taken = first_state(config, model, step, params if given is None else given, checkpoints, echo)
    number = int(state.step)
    validation.forget_after(number)
    samples = model.front_end.samples(config.data.frames)
    share = Share(jax.process_index(), jax.process_count())
    crops = training_batches(source, config.data, samples, config.seed, taken, share)
    stack.callback(crops.close)
    batches = ahead(place_batch(Waves(batch["clean"], batch["noisy"]), mesh) for batch in crops)
    seconds = samples / model.front_end.sample_rate
    operations = functools.partial(operations_per_example, config, model, teacher, functions)
    progress = stack.enter_context(Progress(config, number, seconds, curves, echo, operations))
    steps = config.profiled if first_process else range(0)
    profile = stack.enter_context(Profile(steps, workdir / "profile", number, progress, echo))
    parts = step, frozen, batches, validation, checkpoints, progress, profile, stop
    return Run(config, workdir, echo, *parts, state, number, taken)


def open_data(config: TrainConfig, model: ScoreModel, echo: Status) -> tuple[Any, Any]:
    """Return the source of training examples, and the pairs for validation."""
    with echo.doing("opening the data"):
        found = open_source(config.data, model.front_end.sample_rate)
        source, pairs = training_part(config, found), read_validation_pairs(config, model, found)
    if isinstance(found, Mixer):
        for library in found.libraries:
            echo(library.summary())
        if not config.data.rir and config.data.mix.reverb not in (0, MixConfig().reverb):
            echo("data.rir gives no room responses: data.mix.reverb is not used")
    elif config.data.mix != MixConfig():
        echo("data.path holds pairs, which are already mixed: data.mix is not used")
    if pairs and not config.data.speech and config.validation.split == config.data.split:
        echo(f"the files of split {config.data.split!r} are for training and for validation: scores mislead")
    if config.optimizer.warmup_steps >= config.steps:
        echo(
            f"optimizer.warmup_steps is {config.optimizer.warmup_steps}: in {config.steps} steps, the "
            "learning rate doesn't reach its value"
        )
    return source, pairs


def first_state(
    config: TrainConfig,
    model: ScoreModel,
    step: Step,
    params: Params | None,
    checkpoints: RunCheckpoints,
    echo: Status,
) -> tuple[TrainState, int]:
    """Return the state that a run starts or resumes with, and the number of batches already used.

    Without `params`, weights are initialized from the config's seed.
    """
    key_init, key_run = jax.random.split(jax.random.key(config.seed))
    with echo.doing("initializing the state"):
        params = model.init(key_init) if params is None else params
        state = step.init(jax.device_get(params), np.asarray(jax.random.key_data(key_run)))
    if checkpoints.latest is None:
        return state, 0
    with echo.doing(f"restoring step {checkpoints.latest}"):
        checkpoints.check_resumable()
        restored, taken = checkpoints.restore(step.layout.to_trees(state))
        state = step.layout.from_trees(restored, state)
    echo(f"resumed at step {int(state.step)} from {checkpoints.folder.parent}")
    return state, taken


def announced(step: Step, status: Status) -> Step:
    """Return `step` with programs that log their compilation."""
    names = {"add_gradient": "the gradient", "apply": "the update", "loss": "the validation loss"}
    programs = {name: Announced(getattr(step, name), words, status) for name, words in names.items()}
    return step._replace(**programs)


def load_teacher(
    config: TrainConfig, network: nn.Module | None = None
) -> tuple[ScoreModel | None, Params, Params | None]:
    """Load (teacher, its EMA weights, raw weights to start from); None or {} if not used.

    A student with a custom `network` starts from its teacher's weights if the teacher has the same network.

    Raises:
      ValueError: if the teacher's checkpoint can't be read, or is a student's in distillation, or the
        student's front end, process or network (except its precision) differ from the teacher's.
    """
    if not config.teacher or config.objective not in OF_STUDENTS:
        return None, {}, None
    found = open_any_checkpoint(config.teacher).config
    if config.objective == "distillation" and found.role != "teacher":
        raise ValueError(f"{config.teacher} is a {found.role}, it can't be the teacher of a distillation")
    if found.own_network is None:
        theirs, parts = None, ("front_end", "sde") if network is not None else ("front_end", "sde", "network")
    else:
        theirs, parts = network, ("front_end", "sde")
    teacher, raw = load_any_checkpoint(config.teacher, "raw", theirs)
    what = f"the student has to match its teacher {config.teacher}"
    check_alike(config.model, teacher.config, parts, what)
    raw = raw if theirs is network else None
    if config.objective == "consistency-training":
        return None, {}, raw
    return teacher, load_any_checkpoint(config.teacher, "ema", theirs)[1], raw


def load_initial_weights(config: TrainConfig, network: nn.Module | None = None) -> Params | None:
    """Load the weights of `config.init_from`, if any.

    Raises:
      ValueError: if they can't be read, or have another front end or network.
    """
    if not config.init_from:
        return None
    model, params = load_any_checkpoint(config.init_from, config.init_weights, network)
    what = f"the model has to match {config.init_from}, the source of its initial weights"
    parts = ("front_end", "network") if network is None else ("front_end",)
    check_alike(config.model, model.config, parts, what)
    return params


def check_alike(ours: ModelConfig, theirs: ModelConfig, parts: Sequence[str], what: str) -> None:
    """Raise ValueError, with `what` and the differences, if parts of models differ in more than precision."""
    described = [{part: to_dict(getattr(config, part)) for part in parts} for config in (theirs, ours)]
    for description in described:
        for field in ("dtype", "remat"):
            description.get("network", {}).pop(field, None)
    if lines := difference(described[0], described[1]):
        raise ValueError("\n  ".join([f"{what}:", *lines]))


def open_curves(config: TrainConfig, workdir: Path) -> ManyCurves:
    """Open the config's loggers of curves."""
    tensorboard = TensorBoardCurves(workdir / "tensorboard")
    if not config.wandb_project:
        return ManyCurves(tensorboard)
    return ManyCurves(tensorboard, WandbCurves(workdir, config.wandb_project, to_dict(config)))


def ahead(batches: Iterator[Any], count: int = BATCHES_AHEAD) -> Iterator[Any]:
    """Prefetch `count` batches to the devices."""
    waiting: deque[Any] = deque()
    for batch in batches:
        waiting.append(batch)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting
