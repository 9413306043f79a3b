"""Validation of the moving average during training, on a fixed part of the validation split."""

import contextlib
import functools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rosecd_jax.atomic import write_text
from rosecd_jax.data.loader import LoaderConfig, Source, center_crop, open_source
from rosecd_jax.data.mixing import Mixer
from rosecd_jax.metrics import Scores, evaluate_pair
from rosecd_jax.models.enhancement import SamplerConfig, enhance_padded, padded_frames
from rosecd_jax.models.score_model import Params, ScoreModel
from rosecd_jax.processes import Job, Workers
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.curves import Curves, spectrogram_picture
from rosecd_jax.training.devices import over_batch, place_batch, replicated
from rosecd_jax.training.state import TrainState
from rosecd_jax.training.status import Announced, Status
from rosecd_jax.training.step import Step, Waves

SCORES = ("pesq", "estoi", "si_sdr")
MIX_SECONDS = 4.0  # length of a mixed validation file
Pair = dict[str, np.ndarray]


class Pending(NamedTuple):
    """A validation whose scores are being computed."""

    step: int
    terms: dict[str, float]
    scores: list[Job[Scores]]


class Validation:
    """Validation on the same files each time, scored in the background. Use as a context manager.

    A student enhances with one step, a teacher with its sampler. Every process of a run computes all scores,
    so that all agree on the best checkpoints.

    Attributes:
      scores: step -> {"loss", "pesq", "estoi", "si_sdr"} of complete validations; stored in
        `validation.json` of the working directory.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: ScoreModel,
        pairs: Sequence[Pair],
        step: Step,
        mesh: jax.sharding.Mesh,
        workdir: Path,
        curves: Curves,
        status: Status,
    ) -> None:
        self.config, self.model, self.pairs, self.mesh = config, model, list(pairs), mesh
        self.step, self.curves = step, curves
        self.file = workdir / "validation.json"
        self.scores = self._stored_scores()
        self.pending: list[Pending] = []
        self.workers = Workers(config.validation.workers)
        sampler, everywhere = SamplerConfig().resolve(model), replicated(mesh)

        def enhance(params: Any, wave: jax.Array, samples: jax.Array, numbers: jax.Array) -> jax.Array:
            params = step.layout.unpack(jax.lax.with_sharding_constraint(params, everywhere))
            keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(config.seed)))(numbers)
            return enhance_padded(model, sampler, params, wave, samples, keys)

        program = jax.jit(enhance, out_shardings=everywhere)
        self.enhance = Announced(program, "enhancement for validation", status)
        self.analyze = jax.jit(model.front_end.analyze)

    def __enter__(self) -> "Validation":
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        if kind is None:
            self.collect(wait=True)
        self.workers.close()

    def _stored_scores(self) -> dict[int, dict[str, float]]:
        if not self.file.exists():
            return {}
        try:
            return {int(number): values for number, values in json.loads(self.file.read_text()).items()}
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"{self.file} cannot be read ({error}); delete it to continue without its scores"
            ) from error

    def due(self, step: int) -> bool:
        """Return whether a validation is due at this step and has not been started.

        A run that starts from another model's weights is also validated at step 0, for comparison.
        """
        every = self.config.validation.every
        started = step in self.scores or any(pending.step == step for pending in self.pending)
        counts = step > 0 or bool(self.config.init_from)
        return bool(self.pairs) and bool(every) and counts and step % every == 0 and not started

    def forget_after(self, step: int) -> None:
        """Discard the scores of later steps, which a resumed run will reach again."""
        self.scores = {number: values for number, values in self.scores.items() if number <= step}

    def start(self, state: TrainState, frozen: Params) -> None:
        """Compute the loss, enhance the files with the moving average, and submit them to the workers."""
        number = int(state.step)
        terms = self._loss(state, frozen)
        jobs, rate = {}, self.model.front_end.sample_rate
        for index, wave in self._enhanced(state.ema):
            pair = self.pairs[index]
            jobs[index] = self.workers.submit(evaluate_pair, pair["clean"], pair["noisy"], wave, rate)
            if index < self.config.validation.examples:
                self._show(index, wave, number)
        self.pending.append(Pending(number, terms, [jobs[index] for index in sorted(jobs)]))

    def collect(self, wait: bool = False) -> list[int]:
        """Record validations whose scores are complete, or wait for all; return their steps."""
        done = []
        while self.pending and (wait or all(job.future.done() for job in self.pending[0].scores)):
            number, terms, jobs = self.pending.pop(0)
            found = [self._result(job) for job in jobs]
            table = np.array([[getattr(scores, name) for name in SCORES] for scores in found])
            means = {
                name: float(column[np.isfinite(column)].mean()) if np.isfinite(column).any() else float("nan")
                for name, column in zip(SCORES, table.T, strict=True)
            }
            self.scores[number] = terms | means
            self.curves.scalars({f"valid/{name}": v for name, v in self.scores[number].items()}, number)
            done.append(number)
        if done and jax.process_index() == 0:
            write_text(self.file, json.dumps(self.scores, indent=1) + "\n")
        return done

    def line(self, step: int) -> str:
        """Format the scores of a step."""
        units = {"si_sdr": " dB"}
        words = (f"{name} {value:.4g}{units.get(name, '')}" for name, value in self.scores[step].items())
        return f"validation at step {step}  " + "  ".join(words)

    def _result(self, job: Job[Scores]) -> Scores:
        """Return the scores of a file; NaN if its worker was killed twice, which doesn't end the run.

        A scheduler's SIGTERM also reaches the workers. `Workers` retries the jobs that it killed, so that
        means of all steps are over the same files.
        """
        with contextlib.suppress(BrokenProcessPool):
            return self.workers.result(job)
        return Scores(*[float("nan")] * len(Scores._fields))

    def _loss(self, state: TrainState, frozen: Params) -> dict[str, float]:
        """Compute the loss terms on centered crops, with the same noise each time; a file may count twice."""
        size = self.config.data.batch_size
        share, first = size // jax.process_count(), size // jax.process_count() * jax.process_index()
        samples = self.model.front_end.samples(self.config.data.frames)
        crops = [center_crop(pair, samples) for pair in self.pairs]
        batches = []
        for i in range(-(-len(crops) // size)):
            mine = [crops[(i * size + first + j) % len(crops)] for j in range(share)]
            local = Waves(*(np.stack([crop[side] for crop in mine]) for side in ("clean", "noisy")))
            key = np.asarray(jax.random.key_data(jax.random.key(i)))
            batches.append(self.step.loss(state, frozen, place_batch(local, self.mesh), key))
        values = jax.device_get(batches)
        return {name: float(np.mean([terms[name] for terms in values])) for name in values[0]}

    def _enhanced(self, params: Any) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number of the pair, its enhanced wave), one file per device at a time, shortest first."""
        front, devices = self.model.front_end, self.mesh.size
        order = sorted(range(len(self.pairs)), key=lambda i: self.pairs[i]["noisy"].size)
        for start in range(0, len(order), devices):
            group = order[start : start + devices]
            filled = group + group[-1:] * (devices - len(group))
            longest = self.pairs[group[-1]]["noisy"].size
            buffer = front.hop * padded_frames(front.frames(longest), self.model.config.stride)
            waves = np.zeros((devices, buffer), np.float32)
            for row, index in zip(waves, filled, strict=True):
                row[: self.pairs[index]["noisy"].size] = self.pairs[index]["noisy"]
            lengths = np.array([self.pairs[index]["noisy"].size for index in filled], np.int32)
            arguments = [self._divide(array) for array in (waves, lengths, np.array(filled, np.uint32))]
            enhanced = np.asarray(self.enhance(params, *arguments))
            for row, index in zip(enhanced, group, strict=False):
                yield index, row[: self.pairs[index]["noisy"].size]

    def _divide(self, array: np.ndarray) -> jax.Array:
        """Divide an array, whole on every process, among the devices along its first axis."""
        return jax.make_array_from_callback(array.shape, over_batch(self.mesh), lambda part: array[part])

    def _show(self, index: int, enhanced: np.ndarray, number: int) -> None:
        """Log sound and spectrograms (from the top: noisy, enhanced, clean) of one file."""
        pair, rate = self.pairs[index], self.model.front_end.sample_rate
        waves = {"noisy": pair["noisy"], "enhanced": enhanced, "clean": pair["clean"]}
        for name, wave in waves.items():
            if name == "enhanced" or not self.scores:  # the others don't change
                self.curves.sound(f"example_{index}/{name}", wave, rate, number)
        pictures = [spectrogram_picture(np.asarray(self.analyze(wave))) for wave in waves.values()]
        line = np.full((2, *pictures[0].shape[1:]), 255, np.uint8)
        stacked = [pictures[0], line, pictures[1], line, pictures[2]]
        self.curves.picture(f"example_{index}/spectrograms", np.concatenate(stacked), number)


def training_part(config: TrainConfig, source: Source) -> Source:
    """Return the part of a source used for training: all, unless recordings are held back."""
    if isinstance(source, Mixer) and _mixes_validation(config):
        return source.part(held_back=False)
    return source


def read_validation_pairs(config: TrainConfig, model: ScoreModel, source: Source | None = None) -> list[Pair]:
    """Read the fixed files of a run's validations, float32 [samples] each; none without validation.

    They are from the validation split. If the training `source` is mixed and there are no pairs, they are
    mixed from recordings held back from training.

    Raises:
      DataError: if the data has no such split, or its files are invalid.
    """
    settings, rate = config.validation, model.front_end.sample_rate
    if not settings.every:
        return []
    if isinstance(source, Mixer) and _mixes_validation(config):
        mixes = source.part(held_back=True).pairs(config.seed, round(MIX_SECONDS * rate))
        return [mixes[i] for i in range(settings.files)]
    data = LoaderConfig(path=config.data.path, split=settings.split)
    pairs = open_source(data, rate, "--config.validation.every=0 trains without validation")
    assert not isinstance(pairs, Mixer)
    count = min(settings.files, len(pairs))
    return [pairs[int(i)] for i in np.linspace(0, len(pairs) - 1, count).round()]


def _mixes_validation(config: TrainConfig) -> bool:
    return config.validation.every > 0 and not config.data.path
