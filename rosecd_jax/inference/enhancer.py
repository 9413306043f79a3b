"""Enhancer: a loaded model applied to arrays, files, folders and streams."""

import dataclasses
import numbers
import operator
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import flax.linen as nn
import jax
import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.config import check_fields
from rosecd_jax.inference.pipeline import enhance_folder
from rosecd_jax.inference.plan import Existing, plan_file, plan_folder
from rosecd_jax.inference.programs import Programs, StreamPrograms
from rosecd_jax.inference.report import Report
from rosecd_jax.inference.windows import WaveEnhancer
from rosecd_jax.models.enhancement import BUCKETS, Sampler, SamplerConfig, blend, wet_share
from rosecd_jax.models.score_model import Params, ScoreModel
from rosecd_jax.pretrained import DEFAULT
from rosecd_jax.processes import keep_compiled_programs

if TYPE_CHECKING:
    from rosecd_jax.inference.stream_step import StreamConfig
    from rosecd_jax.inference.streaming import StreamingEnhancer

MOST_CHANNELS = 64
"""An array with more channels than this, and more than samples, is refused as transposed."""


@dataclasses.dataclass(frozen=True, eq=False)
class Enhancer:
    """A model ready to enhance: `Enhancer.from_checkpoint(path)(wave, sample_rate)`.

    The result for a signal depends only on the signal and the seed, not on other signals in its batch.
    Thread-safe. `dataclasses.replace` returns an enhancer with other attributes.

    Attributes:
      model, params: the model and its weights.
      sampler: sampler, resolved for the model.
      buckets: lengths, in frames, that signals are padded to, with one program each; see `padded_frames`. In
        any order; empty: a program for every multiple of 64 frames, as the papers pad.
      limit: seconds; longer signals are enhanced in overlapping windows of up to 2,560 frames (20 s if they
        are 8 ms apart), unless they fit in one. Not shorter than the STFT's window.
      strength: share of the model's output in the result, from 0 (input only) to 1 (output only); the
        sample-aligned input is the rest.
      attenuation_limit: maximum attenuation of the noise in dB, reached by mixing in the input.
      batch_frames: frames of files computed at once; None: chosen for the device, 0: one signal at a time. A
        wave passed to a call is computed alone, which may round differently from a file's batch.
      programs, waves, stream_programs: derived from the other attributes.

    Raises:
      ValueError: naming the invalid attribute.
    """

    model: ScoreModel
    params: Params = dataclasses.field(repr=False)
    sampler: SamplerConfig = SamplerConfig()
    buckets: tuple[int, ...] = BUCKETS
    limit: float = 30.0
    batch_frames: int | None = None
    strength: float = 1.0
    attenuation_limit: float | None = None
    programs: Programs = dataclasses.field(init=False, repr=False)
    waves: WaveEnhancer = dataclasses.field(init=False, repr=False)
    stream_programs: StreamPrograms = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_fields(self, least={"buckets": 1, "batch_frames": 0}, above={"limit": 0})
        shortest = self.model.front_end.n_fft / self.model.front_end.sample_rate
        if self.limit < shortest:
            raise ValueError(
                f"limit is {self.limit} s, shorter than one window of the model's STFT, {shortest:g} s; set "
                "some seconds, such as 30"
            )
        sampler = self.sampler.resolve(self.model)
        programs = Programs(self.model, sampler, self.params, self.batch_frames)
        wet, buckets = wet_share(self.strength, self.attenuation_limit), tuple(sorted(set(self.buckets)))
        derived = {
            "sampler": sampler,
            "buckets": buckets,
            "params": programs.params,
            "programs": programs,
            "waves": WaveEnhancer(programs, buckets, self.limit, wet),
            "stream_programs": StreamPrograms(self.model, programs.params, sampler),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike = DEFAULT,
        *,
        weights: Literal["ema", "raw"] = "ema",
        sampler: Sampler = "auto",
        steps: int = 0,
        snr: float = 0.0,
        corrector: Literal["annealed-langevin", "langevin"] = "annealed-langevin",
        dtype: Literal["float32", "bfloat16"] | None = None,
        network: nn.Module | None = None,
        **options: Any,
    ) -> "Enhancer":
        """Load a model; by default, a student runs one step, and a teacher the steps that are stored with it.

        These are usually 30 of the predictor-corrector, or 50 of a bridge's ODE.

        Compiled programs are kept in the user's cache folder, see `processes.keep_compiled_programs`.

        Args:
          path: a checkpoint of this package (a directory) or of the authors (a `.ckpt` file), or the name of
            a packaged model.
          dtype: dtype of the network's computation; None: that of training.
          network: the Flax module of a model with a custom network, see `load_checkpoint`; excludes `dtype`.
          options: further attributes of `Enhancer`.

        Warns:
          UserWarning: if a student would take more than one network call, which it is not trained for.

        Raises:
          CheckpointError, TorchFileError: if the checkpoint is missing or invalid.
          ValueError: if an option is invalid.
        """
        if Path(path).is_file():  # both imports are slow
            from rosecd_jax.conversion.lightning import load_any_checkpoint as load
        else:
            from rosecd_jax.models.checkpoint import load_checkpoint as load

        keep_compiled_programs()
        if dtype not in (None, "float32", "bfloat16"):
            raise ValueError(f"dtype {dtype!r}: expected float32 or bfloat16")
        if network is not None and dtype is not None:
            raise ValueError(f"dtype {dtype!r}: set the dtype of a custom network in its module")
        model, params = load(path, weights, network)
        if dtype is not None:
            size = dataclasses.replace(model.config.network, dtype=dtype)
            model = ScoreModel(dataclasses.replace(model.config, network=size))
        enhancer = cls(model, params, SamplerConfig(sampler, steps, snr, corrector), **options)
        calls = enhancer.sampler.network_calls
        if model.config.role == "student" and calls > 1:
            words = f"{path} is a student, trained for one network call: {calls} calls can change the level"
            warnings.warn(words, stacklevel=2)
        return enhancer

    def __call__(self, wave: np.ndarray, sample_rate: int, *, seed: int = 0) -> np.ndarray:
        """Enhance a wave, each channel by itself.

        Args:
          wave: real [samples] or [channels, samples]; integers are not scaled.
          sample_rate: Hz; a wave at another rate than the model's is resampled to it and back, which
            removes everything above half the model's rate.
          seed: seed of the sampler's noise; the same seed gives the same result.

        Returns:
          float32 of the wave's shape, at its rate. Silence stays silence.

        Raises:
          ValueError: if the wave is empty, complex, not finite or of another shape, or the rate is invalid.
        """
        if np.iscomplexobj(wave):
            raise ValueError("a complex wave: expected real samples, not a spectrogram")
        wave = np.asarray(wave, np.float32)
        if wave.ndim not in (1, 2) or wave.size == 0:
            raise ValueError(
                f"a wave of shape {wave.shape}: expected [samples] or [channels, samples], not empty"
            )
        if wave.ndim == 2 and len(wave) > max(MOST_CHANNELS, wave.shape[1]):
            raise ValueError(f"a wave of shape {wave.shape}: expected [channels, samples]; transpose it")
        if not np.isfinite(wave).all():
            raise ValueError("the wave holds samples that are NaN, infinite or beyond float32; remove them")
        is_number = isinstance(sample_rate, numbers.Real)
        if not is_number or not io.RATES[0] <= sample_rate <= io.RATES[-1] or sample_rate % 1:
            raise ValueError(
                f"the sample rate is {sample_rate!r} Hz; expected an integer, {io.RATES[0]} to {io.RATES[-1]}"
            )
        sample_rate = int(sample_rate)  # some libraries give floats, or integers that overflow
        rate = self.model.front_end.sample_rate
        at_rate = io.resample(np.atleast_2d(wave), sample_rate, rate)
        enhanced = self.waves(at_rate, operator.index(seed), alone=True)
        enhanced = io.resample(enhanced, rate, sample_rate, samples=wave.shape[-1]).reshape(wave.shape)
        return blend(enhanced, wave, self.waves.wet)

    def prepare(self, samples: int, sample_rate: int, channels: int = 1) -> None:
        """Compile the programs for a wave of this shape, so that the call itself is fast."""
        rate = self.model.front_end.sample_rate
        self.waves.prepare(io.resampled_length(samples, int(sample_rate), rate), channels)

    def enhance_file(
        self,
        source: str | os.PathLike,
        target: str | os.PathLike,
        *,
        seed: int = 0,
        subtype: str | None = None,
    ) -> float:
        """Enhance an audio file into another of the same rate, length and channels.

        A file longer than the limit is read, enhanced and written in blocks, in bounded memory. An existing
        target is replaced once the new one is complete.

        Args:
          target: the suffix determines the format; without one, a folder, which gets a file of the
            source's name.
          subtype: encoding, such as PCM_24; None: the source's, if the format supports it.

        Returns:
          The file's length in seconds.

        Warns:
          UserWarning: if samples were clipped to full scale, or loud events limited, see `audio.level`.

        Raises:
          AudioError: if the source can't be read or computed, or the target can't be written.
        """
        plan = plan_file(Path(source), Path(target), "overwrite", None, subtype)
        (report,) = enhance_folder(self.waves, plan, operator.index(seed), subtype, lambda: False)
        if report.error:
            raise io.AudioError(report.error)
        if report.clipped:
            words = f"{target}: {report.clipped} samples were clipped; a WAV of subtype='FLOAT' keeps them"
            warnings.warn(words, stacklevel=2)
        if report.limited:
            words = f"{source}: loud events, {report.limited} s in all, were limited to the level of the rest"
            warnings.warn(words, stacklevel=2)
        return report.seconds

    def enhance_folder(
        self,
        source: str | os.PathLike,
        target: str | os.PathLike,
        *,
        seed: int = 0,
        existing: Existing = "refuse",
        format: str | None = None,
        subtype: str | None = None,
        share: tuple[int, int] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Report]:
        """Enhance every audio file below a folder, keeping relative paths; yield a report for each.

        The work is done while iterating: `for report in enhancer.enhance_folder(...)`.
        Reading, computing and writing overlap; files of similar length are batched. A file that can't be read
        or written is reported, and the others are still enhanced; when the disk is full, files not started
        are reported as "left".

        Args:
          existing: treatment of existing outputs: "refuse" to start, "resume" (keep those that are as long
            as their source and not older), "overwrite".
          format: suffix of the outputs, such as "flac"; None: each source's.
          subtype: encoding, such as PCM_24; None: each source's, if the format supports it.
          share: (i, n): every n-th file, starting at index i, so that n processes divide a folder. None: all
            files, or under `jax.distributed`, the share of this process.
          stop: called before each file and each block of a long one; if true, unfinished files are "left".

        Raises:
          AudioError: at once, if the source holds no audio file.
          ValueError: at once, if outputs exist and `existing` is "refuse".
        """
        share = share or (jax.process_index(), jax.process_count())
        plan = plan_folder(Path(source), Path(target), existing, format, subtype, share)
        return enhance_folder(self.waves, plan, operator.index(seed), subtype, stop)

    def stream(
        self,
        config: "StreamConfig | None" = None,
        *,
        channels: int = 1,
        sample_rate: int | None = None,
        seed: int = 0,
    ) -> "StreamingEnhancer":
        """Enhance a signal in real time: chunks of any size in, as many samples out, with fixed latency.

        Streams of the same config and number of channels share one compiled program.

        Args:
          config: sizes of a step; hop, look-ahead and fade set the latency. None: steps of 64 ms with a
            look-ahead of 64 ms, `StreamConfig.from_milliseconds(model)`.
          channels, sample_rate: channels and rate (Hz) of the signal; None: the model's rate.
          seed: seed of the sampler's noise.

        Raises:
          TypeError: if `config` is not a StreamConfig; pass a rate by keyword: `stream(sample_rate=16000)`.
          ValueError: if the window doesn't fit the model, or channels or rate are out of range.
        """
        from rosecd_jax.inference.stream_step import StreamConfig
        from rosecd_jax.inference.streaming import StreamingEnhancer

        if not isinstance(config, StreamConfig | None):
            raise TypeError(
                f"stream({config!r}): expected a StreamConfig; pass others by keyword: sample_rate=16000"
            )
        return StreamingEnhancer(
            self.model,
            self.params,
            self.sampler,
            config or StreamConfig.from_milliseconds(self.model),
            channels=channels,
            sample_rate=sample_rate,
            seed=seed,
            programs=self.stream_programs,
            wet=self.waves.wet,
        )
