"""The training loop: mesh, one jitted step, progress, curves, checkpoints, resume."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rosecd_jax.data.loader import training_batches
from rosecd_jax.losses import consistency, score
from rosecd_jax.losses.batch import Batch
from rosecd_jax.models.checkpoint import load_checkpoint
from rosecd_jax.models.config import difference, to_dict
from rosecd_jax.models.score_model import Params, ScoreModel
from rosecd_jax.training.checkpoints import RunCheckpoints
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.state import TrainState, init_state, make_optimiser, update

Metrics = dict[str, jax.Array]
Loss = Callable[[Params, Params, Params, Batch, jax.Array], tuple[jax.Array, Metrics]]
"""(params, moving average, teacher's params, batch, key) -> (loss, its terms)."""


def make_loss(config: TrainConfig, model: ScoreModel, teacher: ScoreModel | None) -> Loss:
    """The objective that a config names, as one function; it draws and then calls the pure loss."""
    if teacher is None:

        def teacher_loss(params, ema, frozen, batch, key):
            del ema, frozen
            return score.score_loss(params, batch, score.draw(key, batch.y.shape, model), model=model)

        return teacher_loss

    def student_loss(params, ema, frozen, batch, key):
        draws = consistency.draw(key, batch.y.shape, config.distillation)
        return consistency.distillation_loss(
            params,
            batch,
            draws,
            model=model,
            target_params=ema,
            teacher=teacher,
            teacher_params=frozen,
            config=config.distillation,
        )

    return student_loss


def make_step(
    config: TrainConfig, model: ScoreModel, loss: Loss, optimiser: optax.GradientTransformation
) -> Callable[[TrainState, Params, Batch], tuple[TrainState, Metrics]]:
    """One update as a pure function of (state, teacher's params, waves float32 [accumulate · batch, samples])."""
    gradient = jax.value_and_grad(loss, has_aux=True)
    accumulate = config.optimiser.accumulate

    def step(state: TrainState, frozen: Params, waves: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        # Interleaved, so that every device keeps its own examples.
        parts = jax.tree.map(lambda w: w.reshape(-1, accumulate, w.shape[-1]).swapaxes(0, 1), waves)

        def part(total, inputs):
            i, (clean, noisy) = inputs
            batch = Batch(model.front_end.analyse(clean), model.front_end.analyse(noisy))
            (_, metrics), grads = gradient(state.params, state.ema, frozen, batch, jax.random.fold_in(key, i))
            return jax.tree.map(jnp.add, total, grads), metrics

        zeros = jax.tree.map(jnp.zeros_like, state.params)
        total, metrics = jax.lax.scan(part, zeros, (jnp.arange(accumulate), parts))
        grads = jax.tree.map(lambda g: g / accumulate, total)
        metrics = {name: values.mean() for name, values in metrics.items()}
        metrics["gradient_norm"] = optax.global_norm(grads)
        return update(state, grads, optimiser, config.optimiser.ema_decay), metrics

    return step


def load_teacher(config: TrainConfig) -> tuple[ScoreModel, dict[str, Params]]:
    """The teacher of a distillation run with its raw and its averaged weights.

    Raises:
      ValueError: if the student's front end, process or network differ from the teacher's.
    """
    teacher, ema = load_checkpoint(config.teacher, "ema")
    _, raw = load_checkpoint(config.teacher, "raw")
    ours, theirs = (
        {part: to_dict(getattr(c, part)) for part in ("front_end", "sde", "network")}
        for c in (config.model, teacher.config)
    )
    if ours != theirs:
        lines = "\n  ".join(difference(theirs, ours))
        raise ValueError(f"the student must be built as its teacher {config.teacher} is:\n  {lines}")
    return teacher, {"raw": raw, "ema": ema}


def train(config: TrainConfig, workdir: str | Path, echo: Callable[[str], None] = print) -> TrainState:
    """Train, or go on training, in `workdir`: checkpoints/ and tensorboard/ are written there.

    Args:
      config: what to train.
      workdir: one directory a run. If it holds checkpoints, the run resumes at the last one.
      echo: takes the log lines.

    Returns:
      The last state.

    Raises:
      ValueError: if data, teacher, batch size or a resumed run's config don't fit; before any training.
    """
    from tensorboardX import SummaryWriter

    workdir = Path(workdir)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    replicated = jax.NamedSharding(mesh, jax.P())
    sharded = jax.NamedSharding(mesh, jax.P("data"))
    if config.data.batch_size % mesh.size:
        raise ValueError(f"data.batch_size is {config.data.batch_size}: no multiple of {mesh.size} devices")

    model = ScoreModel(config.model)
    optimiser = make_optimiser(config.optimiser)
    examples = config.data.batch_size * config.optimiser.accumulate
    samples = model.front_end.samples(config.data.frames)
    batches: Any = training_batches(config.data, samples, model.front_end.sample_rate, examples, config.seed)

    key_init, key_run = jax.random.split(jax.random.key(config.seed))
    teacher, frozen, params = None, {}, None
    if config.objective == "distillation":
        teacher, weights = load_teacher(config)
        params, frozen = weights["raw"], jax.device_put(weights["ema"], replicated)
    params = model.init(key_init) if params is None else params
    state = jax.device_put(init_state(params, optimiser, key_run), replicated)
    step = jax.jit(make_step(config, model, make_loss(config, model, teacher), optimiser), donate_argnums=0)

    workdir.mkdir(parents=True, exist_ok=True)
    with (
        RunCheckpoints(workdir, config) as checkpoints,
        SummaryWriter(str(workdir / "tensorboard")) as curves,
    ):
        if checkpoints.latest is not None:
            check_resumable(checkpoints.stored_config(), config)
            state, data_state = checkpoints.restore(state)
            batches.set_state(data_state)
            echo(f"resumed at step {int(state.step)} from {workdir}")
        with Progress(config, int(state.step), curves, echo) as progress:
            for number in range(int(state.step) + 1, config.steps + 1):
                pair = next(batches)
                waves = jax.device_put(Batch(pair["clean"], pair["noisy"]), sharded)
                state, metrics = step(state, frozen, waves)
                progress.add(number, metrics)
                if number % config.checkpoint_every == 0 or number == config.steps:
                    checkpoints.save(state, batches.get_state())
    return state


def check_resumable(stored: dict[str, Any], config: TrainConfig) -> None:
    """Raise ValueError, with the difference, if a run would go on with another config than it began with.

    How long it runs, how often it reports and where the data lies may change.
    """
    free = {"steps": 0, "log_every": 0, "checkpoint_every": 0, "keep": 0, "teacher": ""}
    path = {"path": "", "threads": 0}
    old = stored | free | {"data": stored["data"] | path}
    new = to_dict(config) | free | {"data": to_dict(config.data) | path}
    if old != new:
        lines = "\n  ".join(difference(old, new))
        raise ValueError(f"the run in this directory has another config; use a new workdir:\n  {lines}")


class Progress:
    """A bar with rate and ETA, log lines, and TensorBoard curves; fetches numbers only when it logs."""

    def __init__(self, config: TrainConfig, start: int, curves: Any, echo: Callable[[str], None]) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self.config, self.curves, self.echo = config, curves, echo
        self.waiting: list[Metrics] = []
        self.bar = Bar(*columns, transient=True)
        self.task = self.bar.add_task(config.objective, total=config.steps, completed=start, rate="compiling")
        self.since = time.perf_counter()

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def add(self, number: int, metrics: Metrics) -> None:
        """Note the metrics of update `number`; log them every `log_every` updates."""
        self.waiting.append(metrics)
        self.bar.update(self.task, completed=number)
        if number % self.config.log_every and number != self.config.steps:
            return
        values = [{name: float(value) for name, value in m.items()} for m in jax.device_get(self.waiting)]
        means = {name: float(np.mean([v[name] for v in values])) for name in values[0]}
        seconds = time.perf_counter() - self.since
        examples = len(values) * self.config.data.batch_size * self.config.optimiser.accumulate
        rate = f"{len(values) / seconds:.2f} steps/s"
        self.waiting, self.since = [], time.perf_counter()
        for name, value in means.items():
            self.curves.add_scalar(f"train/{name}", value, number)
        self.curves.add_scalar("train/examples_per_second", examples / seconds, number)
        self.bar.update(self.task, rate=rate)
        terms = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        self.echo(f"step {number}/{self.config.steps}  {terms}  {rate}")


def config_for_student(teacher: TrainConfig, **changes: Any) -> TrainConfig:
    """A teacher's run turned into the run that distils it: role and c_in of its model change."""
    scaling = dataclasses.replace(teacher.model.preconditioning, c_in="1")
    model = dataclasses.replace(teacher.model, role="student", preconditioning=scaling)
    return dataclasses.replace(teacher, objective="distillation", model=model, **changes)
