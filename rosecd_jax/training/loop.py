"""The training loop: mesh, one jitted step, progress, curves, checkpoints, resume."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rosecd_jax.data.loader import training_batches
from rosecd_jax.losses import consistency, consistency_training, score
from rosecd_jax.losses.batch import Batch
from rosecd_jax.models.checkpoint import load_checkpoint
from rosecd_jax.models.config import difference, from_dict, to_dict
from rosecd_jax.models.score_model import Params, ScoreModel
from rosecd_jax.training.checkpoints import RunCheckpoints
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.state import TrainState, init_state, make_optimiser, update

Metrics = dict[str, jax.Array]
Waves = tuple[jax.Array, jax.Array]
Loss = Callable[[Params, Params, Params, Batch, jax.Array], tuple[jax.Array, Metrics]]
"""(params, moving average, teacher's params, batch, key) -> (loss, its terms)."""


def make_loss(config: TrainConfig, model: ScoreModel, teacher: ScoreModel | None) -> Loss:
    """The objective that a config names, as one function; it draws and then calls the pure loss."""

    def distillation(params, ema, frozen, batch, key):
        constants = config.distillation
        draws = consistency.draw(key, batch.y.shape, constants)
        assert teacher is not None
        return consistency.distillation_loss(
            params,
            batch,
            draws,
            model=model,
            target_params=ema,
            teacher=teacher,
            teacher_params=frozen,
            config=constants,
        )

    def training(params, ema, frozen, batch, key):
        del frozen
        constants = config.consistency_training
        draws = consistency_training.draw(key, batch.y.shape, constants)
        return consistency_training.consistency_training_loss(
            params, batch, draws, model=model, target_params=ema, config=constants
        )

    def of_a_teacher(loss: Callable[..., tuple[jax.Array, Metrics]], **constants: Any) -> Loss:
        def objective(params, ema, frozen, batch, key):
            del ema, frozen
            return loss(params, batch, score.draw(key, batch.y.shape, model), model=model, **constants)

        return objective

    objectives: dict[str, Loss] = {
        "score": of_a_teacher(score.score_loss, config=config.denoiser),
        "score-matching": of_a_teacher(score.score_matching_loss),
        "data-prediction": of_a_teacher(score.data_prediction_loss, config=config.data_prediction),
        "distillation": distillation,
        "consistency-training": training,
    }
    return objectives[config.objective]


def make_step(
    config: TrainConfig, model: ScoreModel, loss: Loss, optimiser: optax.GradientTransformation
) -> Callable[[TrainState, Params, list[Waves]], tuple[TrainState, Metrics]]:
    """One update: (state, teacher's params, `accumulate` batches of waves [B, samples]) -> (state, metrics).

    The batches of an update follow one another on the host: only one's activations are alive at a time, and
    XLA's CPU backend, which has no fast gradient of a convolution inside a loop, is not given one.
    """
    gradient_of = jax.value_and_grad(loss, has_aux=True)

    @functools.partial(jax.jit, donate_argnums=0)
    def add_gradient(total: Params, state: TrainState, frozen: Params, waves: Waves, i: jax.Array):
        batch = Batch(*(model.front_end.analyse(wave) for wave in waves))
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), i)
        (_, metrics), gradient = gradient_of(state.params, state.ema, frozen, batch, key)
        return jax.tree.map(jnp.add, total, gradient), metrics

    @functools.partial(jax.jit, donate_argnums=0)
    def apply(state: TrainState, total: Params, metrics: list[Metrics]) -> tuple[TrainState, Metrics]:
        gradient = jax.tree.map(lambda g: g / len(metrics), total)
        means = jax.tree.map(lambda *values: sum(values) / len(values), *metrics)
        means["gradient_norm"] = optax.global_norm(gradient)
        return update(state, gradient, optimiser, config.optimiser.ema_decay), means

    zeros = jax.jit(lambda params: jax.tree.map(jnp.zeros_like, params))

    def step(state: TrainState, frozen: Params, batches: list[Waves]) -> tuple[TrainState, Metrics]:
        total, metrics = zeros(state.params), []
        for i, waves in enumerate(batches):
            total, terms = add_gradient(total, state, frozen, waves, jnp.int32(i))
            metrics.append(terms)
        return apply(state, total, metrics)

    return step


def load_teacher(config: TrainConfig) -> tuple[ScoreModel, dict[str, Params]]:
    """The teacher of a student's run with its raw and its averaged weights.

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
    samples = model.front_end.samples(config.data.frames)
    batches: Any = training_batches(config.data, samples, model.front_end.sample_rate, config.seed)

    key_init, key_run = jax.random.split(jax.random.key(config.seed))
    teacher, frozen, params = None, {}, None
    if config.teacher and config.objective in ("distillation", "consistency-training"):
        teacher, weights = load_teacher(config)
        params = weights["raw"]
        if config.objective == "distillation":
            frozen = jax.device_put(weights["ema"], replicated)
    params = model.init(key_init) if params is None else params
    state = jax.device_put(init_state(params, optimiser, key_run), replicated)
    step = make_step(config, model, make_loss(config, model, teacher), optimiser)

    workdir.mkdir(parents=True, exist_ok=True)
    with (
        RunCheckpoints(workdir, config) as checkpoints,
        SummaryWriter(str(workdir / "tensorboard")) as curves,
    ):
        if checkpoints.latest is not None:
            check_resumable(from_dict(TrainConfig, checkpoints.stored_config()), config)
            state, data_state = checkpoints.restore(state)
            batches.set_state(data_state)
            echo(f"resumed at step {int(state.step)} from {workdir}")
        with Progress(config, int(state.step), curves, echo) as progress:
            for number in range(int(state.step) + 1, config.steps + 1):
                pairs = [next(batches) for _ in range(config.optimiser.accumulate)]
                waves = jax.device_put([(pair["clean"], pair["noisy"]) for pair in pairs], sharded)
                state, metrics = step(state, frozen, waves)
                progress.add(number, metrics)
                if number % config.checkpoint_every == 0 or number == config.steps:
                    checkpoints.save(state, batches.get_state())
    return state


def check_resumable(stored: TrainConfig, config: TrainConfig) -> None:
    """Raise ValueError, with the difference, if a run would go on with another config than it began with.

    How long it runs, how often it reports and where the data lies may change.
    """
    free = {"steps": 0, "log_every": 0, "checkpoint_every": 0, "keep": 0, "teacher": ""}
    path = {"path": "", "threads": 0}
    old, new = (to_dict(c) | free | {"data": to_dict(c.data) | path} for c in (stored, config))
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
