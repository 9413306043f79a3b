"""Parts of a training step, each as its own program, and their times."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import interleaved, print_table
from rosecd_jax.data.loader import open_source, training_batches
from rosecd_jax.losses import Batch, draw_distillation
from rosecd_jax.losses.distillation import Network, target_in_one_loop, target_in_sequence
from rosecd_jax.models import ScoreModel
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.devices import over_batch, place_batch, replicated, state_shardings
from rosecd_jax.training.operations import uses_target
from rosecd_jax.training.state import TrainState
from rosecd_jax.training.step import COMPILER_OPTIONS, Step, Waves, make_loss

Part = Callable[[], Any]


class FreeNetwork(nn.Module):
    """A network that costs nothing: x_t times a weight."""

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array) -> jax.Array:
        del t
        return x[..., :2] * self.param("weight", nn.initializers.ones, ())


class Parts:
    """Programs of one update, on batches that are already on the devices.

    Args:
      state: state of the whole step; a call of `whole` or `optimizer` updates it.
      frozen: the teacher's weights, {} without one.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: ScoreModel,
        step: Step,
        state: TrainState,
        frozen: Any,
        batches: list[Waves],
    ) -> None:
        self.config, self.model, self.step = config, model, step
        self.state, self.frozen, self.batches = state, frozen, batches
        analyze = jax.jit(model.front_end.analyze)
        self.spectrograms = [Batch(*(analyze(wave) for wave in waves)) for waves in batches]
        copied = jax.jit(lambda packed: jax.tree.map(jnp.copy, step.layout.unpack(packed)))
        self.params = copied(state.params)  # the state's own weights are donated
        self.options = COMPILER_OPTIONS.get(jax.default_backend())
        self.metrics: Any = None
        self.whole()

    def whole(self) -> Any:
        """Run a whole step, without its input."""
        self.state, self.metrics = self.step(self.state, self.frozen, self.batches)
        return self.metrics

    def optimizer(self) -> Part:
        """Return the update of weights and moving average."""
        total = self.step.zeros(self.state.params)
        names = "gradient_norm", "learning_rate", "skipped", "skipped_in_a_row"
        terms = {name: value for name, value in self.metrics.items() if name not in names}

        def update() -> Any:
            self.state, metrics = self.step.apply(self.state, total, [terms] * len(self.batches))
            return metrics

        return update

    def network(self) -> Part:
        """Return the network's call and its gradient with respect to the weights."""

        def loss(params: Any, batch: Batch) -> jax.Array:
            denoised = self.model.denoise(params, batch.x0, batch.y, jnp.full(len(batch.y), 0.5))
            return jnp.sum(jnp.square(denoised.real) + jnp.square(denoised.imag))

        gradient = jax.jit(jax.grad(loss), compiler_options=self.options)
        return lambda: [gradient(self.params, batch) for batch in self.spectrograms]

    def losses(self) -> Part:
        """Return the gradient of the objective with networks that cost nothing: STFT, noise, loss terms."""
        free = ScoreModel(dataclasses.replace(self.config.model, own_network=None), FreeNetwork())
        objective = make_loss(self.config, free, free)
        params = free.init(jax.random.key(0))

        def loss(params: Any, waves: Waves, key: jax.Array) -> Any:
            batch = Batch(*(free.front_end.analyze(jnp.asarray(wave)) for wave in waves))
            return objective(params, params, params, batch, key)

        gradient = jax.jit(jax.grad(loss, has_aux=True), compiler_options=self.options)
        return lambda: [gradient(params, waves, jax.random.key(0)) for waves in self.batches]

    def solver(self) -> Part | None:
        """Return the computation of the target, including the teacher's step; None if there is no target."""
        config, model = self.config, self.model
        if not uses_target(config):
            return None
        one_loop = jax.default_backend() != "cpu" and config.distillation.solver == "pc"
        make_target = target_in_one_loop if one_loop else target_in_sequence

        def target(params: Any, frozen: Any, batch: Batch) -> jax.Array:
            t, t_next = (jnp.full(len(batch.y), time) for time in (0.5, 0.4))
            if config.objective == "consistency-training":
                return model.denoise(params, batch.x0, batch.y, t)
            draws = draw_distillation(jax.random.key(0), batch.y.shape, config.distillation)
            networks = Network(model, params), Network(model, frozen)
            return make_target(*networks, batch.x0, batch.y, t, t_next, draws, config.distillation)

        program = jax.jit(target)
        return lambda: [program(self.params, self.frozen, batch) for batch in self.spectrograms]

    def input(self, mesh: jax.sharding.Mesh) -> Part | None:
        """Return the next batches from the loader, on the devices; None without data."""
        data, front = self.config.data, self.model.front_end
        if not (data.path or data.speech):
            return None
        source = open_source(data, front.sample_rate)
        crops = training_batches(source, data, front.samples(data.frames), self.config.seed)

        def take() -> Any:
            found = [next(crops) for _ in self.batches]
            return [place_batch(Waves(crop["clean"], crop["noisy"]), mesh) for crop in found]

        return take

    def all(self, mesh: jax.sharding.Mesh) -> dict[str, Part]:
        """Return the parts that this config has, by name."""
        parts = {
            "whole step": self.whole,
            "network, forward and backward": self.network(),
            "solver: teacher's step and target": self.solver(),
            "losses and STFT": self.losses(),
            "optimizer and moving average": self.optimizer(),
            "input, from the loader": self.input(mesh),
        }
        return {name: part for name, part in parts.items() if part}


def gradient_arguments(config: TrainConfig, step: Step, mesh: jax.sharding.Mesh) -> tuple[Any, ...]:
    """Return the shapes and shardings of the arguments of `step.add_gradient`."""
    model = ScoreModel(config.model)

    def shapes(tree: Any, shardings: Any) -> Any:
        return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings)

    params = jax.eval_shape(model.init, jax.random.key(0))
    state = jax.eval_shape(step.init, params, jax.ShapeDtypeStruct((2,), jnp.uint32))
    state = shapes(state, step.shardings)
    size = config.data.batch_size, model.front_end.samples(config.data.frames)
    wave: Any = jax.ShapeDtypeStruct(size, jnp.float32, sharding=over_batch(mesh))
    number = jax.ShapeDtypeStruct((), jnp.int32, sharding=replicated(mesh))
    distills = config.objective == "distillation"
    frozen = shapes(params, state_shardings(mesh, params, config.sharding)) if distills else {}
    return state.params, state, frozen, Waves(wave, wave), number


def update_arguments(config: TrainConfig, step: Step, of_gradient: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the shapes and shardings of the arguments of `step.apply`, given those of `add_gradient`."""
    gradient, state, _, _, number = of_gradient
    terms = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=number.sharding),
        jax.eval_shape(step.add_gradient, *of_gradient)[1],
    )
    return state, gradient, [terms] * config.optimizer.accumulate


def median_seconds(parts: dict[str, Part], runs: int) -> dict[str, float]:
    """Measure the parts in turn; the first call of each, which compiles, is not counted."""
    return {name: float(np.median(seconds)) for name, seconds in interleaved(parts, runs).items()}


def print_parts(seconds: dict[str, float]) -> None:
    """Print the seconds of each part, and its share of the first, the whole step."""
    whole = next(iter(seconds.values()))
    rows = ((name, f"{value:.4f}", f"{100 * value / whole:.1f} %") for name, value in seconds.items())
    title = "medians; each part alone, so that shares don't add up to 100 %"
    print_table(title, ["part", "seconds", "of the whole step"], rows)


def random_batches(config: TrainConfig, samples: int, mesh: jax.sharding.Mesh) -> list[Waves]:
    """Return the batches of one step on the devices; clean and noisy waves are the same noise."""
    size = config.data.batch_size // jax.process_count(), samples
    noise = np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)
    return [place_batch(Waves(noise, noise), mesh)] * config.optimizer.accumulate
