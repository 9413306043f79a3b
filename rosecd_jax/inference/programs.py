"""Compiled programs that enhance sections of whole frames, one program per bucket.

XLA compiles a program for fixed shapes, so signals are padded to a bucket, and computed alone or in a batch
of as many rows as fill the device.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.models.enhancement import SamplerConfig, enhance_frames, signal_key
from rosecd_jax.models.score_model import Params, ScoreModel

if TYPE_CHECKING:
    from rosecd_jax.inference.stream_step import StreamConfig

ACCELERATOR_FRAMES = 4096
"""Frames that an accelerator computes at once. A CPU computes one signal at a time: batches gain nothing."""


class Stretch(NamedTuple):
    """One row of a batch for `enhance_frames`.

    Attributes:
      wave: float32 [front_end.stretch(bucket)], divided by the signal's level.
      valid_frames, first_frame: as in `enhance_frames`.
      seed: seed of the signal's key; the same for all channels, so that equal channels stay equal.
    """

    wave: np.ndarray
    valid_frames: int
    first_frame: int
    seed: int


class Programs:
    """The programs of a model and a sampler, compiled on first use; thread-safe.

    Attributes:
      compiled: number of programs compiled so far.
      compile_seconds: time spent compiling, or reading from the cache.
    """

    def __init__(
        self, model: ScoreModel, sampler: SamplerConfig, params: Params, batch_frames: int | None = None
    ) -> None:
        """Take a resolved `sampler`, and the frames computed at once (None: chosen for the device)."""
        self.model, self.sampler, self.params = model, sampler, jax.device_put(params)
        cpu = jax.default_backend() == "cpu"
        self.batch_frames = (0 if cpu else ACCELERATOR_FRAMES) if batch_frames is None else batch_frames
        self.compiled, self.compile_seconds = 0, 0.0
        self._compiling, self._since = 0, 0.0
        self._programs: dict[tuple[int, int], Future[jax.stages.Compiled]] = {}
        self._lock = threading.Lock()
        # Two at a time: on a CPU they fill each other's gaps; elsewhere one is copied during the other.
        self._pool = ThreadPoolExecutor(2, "enhance")

    def rows(self, frames: int) -> int:
        """Return the number of rows of `frames` frames that fill the device."""
        return max(1, self.batch_frames // frames)

    def __call__(self, frames: int, rows: int, stretches: Sequence[Stretch]) -> np.ndarray:
        """Enhance at most `rows` stretches -> float32 [len(stretches), frames · hop].

        A row's result doesn't depend on the other rows; programs with other `rows` may round differently.
        """
        padded = [*stretches, *[stretches[0]] * (rows - len(stretches))]
        waves, *numbers = zip(
            *(stretch._replace(seed=stretch.seed % 2**32) for stretch in padded), strict=True
        )
        types = np.int32, np.int32, np.uint32
        arrays = [np.array(column, dtype) for column, dtype in zip(numbers, types, strict=True)]
        enhanced = self.program(frames, rows)(self.params, np.stack(waves), *arrays)
        return np.asarray(enhanced)[: len(stretches)]

    def submit(self, frames: int, rows: int, stretches: Sequence[Stretch]) -> Future[np.ndarray]:
        """Enhance in the background."""
        return self._pool.submit(self, frames, rows, stretches)

    def program(self, frames: int, rows: int) -> jax.stages.Compiled:
        """Return the program for `rows` stretches of `frames` frames, compiled at most once."""
        shape = frames, rows
        with self._lock:
            first = shape not in self._programs
            future = self._programs.setdefault(shape, Future())
        if first:
            try:
                future.set_result(self._compile(frames, rows))
            except BaseException as error:
                with self._lock:
                    del self._programs[shape]
                future.set_exception(error)
        return future.result()

    def _compile(self, frames: int, rows: int) -> jax.stages.Compiled:
        def run(params, wave, valid_frames, first_frames, seeds):
            keys = jax.vmap(signal_key)(seeds)
            return enhance_frames(self.model, self.sampler, params, wave, valid_frames, first_frames, keys)

        wave = jax.ShapeDtypeStruct((rows, self.model.front_end.stretch(frames)), jnp.float32)
        numbers = [jax.ShapeDtypeStruct((rows,), d) for d in (jnp.int32, jnp.int32, jnp.uint32)]
        with self._timed(), jax.enable_x64(False):  # even if the caller enables it
            return jax.jit(run).lower(self.params, wave, *numbers).compile()

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count a compilation; time is counted once when several threads compile."""
        with self._lock:
            self._since = self._since if self._compiling else time.perf_counter()
            self._compiling += 1
        try:
            yield
        finally:
            with self._lock:
                self._compiling -= 1
                self.compiled += 1
                if not self._compiling:
                    self.compile_seconds += time.perf_counter() - self._since

    def __getstate__(self) -> None:
        raise TypeError(
            "compiled programs can't be copied or pickled; use dataclasses.replace for another enhancer, and "
            "load the checkpoint in another process"
        )


class StreamPrograms:
    """A model's steps, compiled once for each config and number of channels; thread-safe."""

    def __init__(self, model: ScoreModel, params: Params, sampler: SamplerConfig) -> None:
        """Take a resolved `sampler`."""
        self._arguments = model, params, sampler
        self._compiled: dict[tuple[StreamConfig, int], jax.stages.Compiled] = {}
        self._lock = threading.Lock()

    def __call__(self, config: "StreamConfig", channels: int) -> jax.stages.Compiled:
        """Return the compiled step, a function of (params, state, block, keys) as in `stream_step`."""
        from rosecd_jax.inference.stream_step import compile_step  # only streams need it

        with self._lock:  # a second caller waits, instead of compiling the same program
            if (config, channels) not in self._compiled:
                self._compiled[config, channels] = compile_step(*self._arguments, config, channels)
            return self._compiled[config, channels]
