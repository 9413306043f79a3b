"""Enhancer: a loaded model applied to arrays, files, folders and streams."""

import dataclasses
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
from rosecd_jax.compilation import keep_compiled_programs
from rosecd_jax.config import check_fields
from rosecd_jax.inference.pipeline import enhance_folder
from rosecd_jax.inference.plan import Existing, plan_file, plan_folder
from rosecd_jax.inference.programs import Programs, StreamPrograms
from rosecd_jax.inference.report import Report
from rosecd_jax.inference.windows import WaveEnhancer
from rosecd_jax.models.enhancement import BUCKETS, Sampler, SamplerConfig, blend, wet_share
from rosecd_jax.models.score_model import Params, ScoreModel
from rosecd_jax.pretrained import DEFAULT

if TYPE_CHECKING:
    from rosecd_jax.inference.stream_step import StreamConfig
    from rosecd_jax.inference.streaming import StreamingEnhancer

MOST_CHANNELS = 64
"""If there are more, and more of them than samples, an array is on its side, as soundfile gives it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Enhancer:
    """A model ready to enhance: `Enhancer.from_checkpoint(path)(wave, sample_rate)`.

    What a signal becomes depends on itself and the seed, never on what else is enhanced with it. Safe to use
    from several threads. `dataclasses.replace` makes one with other attributes.

    Attributes:
      model, params: what is run.
      sampler: how; resolved for the model.
      buckets: lengths, in frames, that signals are padded to, one program for each; see `padded_frames`. In
        any order; empty: a program for every multiple of 64 frames, as the papers pad.
      limit: seconds; longer signals go in overlapping windows, of 20 s at the most. At least one window of
        the model's STFT.
      strength: how much of the model's output is given, 0 (the input as it was) to 1 (the output alone); the
        input, aligned to the sample, makes up the rest.
      attenuation_limit: dB by which noise is lowered at most, by leaving so much of the input.
      batch_frames: frames of files computed at once; None: what suits the device, 0: one signal at a time. A
        wave that is passed to a call goes alone, which may round differently from a file's batch.
      programs, waves, stream_programs: made of the others.

    Raises:
      ValueError: naming the attribute that makes no sense.
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
        made = {
            "sampler": sampler,
            "buckets": buckets,
            "params": programs.params,
            "programs": programs,
            "waves": WaveEnhancer(programs, buckets, self.limit, wet),
            "stream_programs": StreamPrograms(self.model, programs.params, sampler),
        }
        for name, value in made.items():
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
        """Load a model. A student runs one step, a teacher 30 predictor-corrector steps, unless told else.

        Compiled programs are kept in the user's cache folder, see `compilation.keep_compiled_programs`.

        Args:
          path: one of our checkpoints (a directory), one of the authors' (a `.ckpt` file), or the name of a
            model that comes with the package.
          dtype: of the network's computation; None: as it was trained.
          network: the Flax module of a model that has one of its own, see `load_checkpoint`; `dtype` is not
            for these.
          options: further attributes of `Enhancer`.

        Raises:
          CheckpointError, TorchFileError: if there is no such checkpoint.
          ValueError: if an option makes no sense.
        """
        from rosecd_jax.conversion.lightning import load_any_checkpoint  # with the reader of pickles

        keep_compiled_programs()
        if dtype not in (None, "float32", "bfloat16"):
            raise ValueError(f"dtype {dtype!r}: expected float32 or bfloat16")
        if network is not None and dtype is not None:
            raise ValueError(f"dtype {dtype!r}: set that of a network of your own in its module")
        model, params = load_any_checkpoint(path, weights, network)
        if dtype is not None:
            size = dataclasses.replace(model.config.network, dtype=dtype)
            model = ScoreModel(dataclasses.replace(model.config, network=size))
        return cls(model, params, SamplerConfig(sampler, steps, snr, corrector), **options)

    def __call__(self, wave: np.ndarray, sample_rate: int, *, seed: int = 0) -> np.ndarray:
        """Enhance a wave, each channel by itself.

        Args:
          wave: real [samples] or [channels, samples]; integers are taken as they are, not scaled.
          sample_rate: in Hz; other rates than the model's are converted there and back, so that nothing
            above half the model's rate is left.
          seed: of the noise that the sampler starts from; the same seed gives the same result.

        Returns:
          float32 of the wave's shape, at its rate. Silence stays silence.

        Raises:
          ValueError: if the wave is empty, complex, not finite, or of another shape.
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
            raise ValueError("the wave holds NaN or infinite samples; remove them before enhancing")
        if not 0 < sample_rate < float("inf") or sample_rate != int(sample_rate):
            raise ValueError(
                f"the sample rate is {sample_rate} Hz; give that of the wave, a whole number such as 16000"
            )
        sample_rate = int(sample_rate)  # some libraries give floats, or integers that overflow
        rate = self.model.front_end.sample_rate
        at_rate = io.resample(np.atleast_2d(wave), sample_rate, rate)
        enhanced = self.waves(at_rate, operator.index(seed), alone=True)
        enhanced = io.resample(enhanced, rate, sample_rate, samples=wave.shape[-1]).reshape(wave.shape)
        return blend(enhanced, wave, self.waves.wet)

    def prepare(self, samples: int, sample_rate: int, channels: int = 1) -> None:
        """Compile what a wave of this shape needs, so that the call itself is fast."""
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
        """Enhance an audio file into another of its rate, length and channels, as a folder of one.

        A file longer than the limit is read, enhanced and written in blocks, in bounded memory. A file
        already there is replaced, once the new one is complete.

        Args:
          target: its suffix says its format; without one, it is a folder for a file of the source's name.
          subtype: its encoding, such as PCM_24; None: the source's, if the format has it.

        Returns:
          The length of the file in seconds. Warns if samples were clipped to full scale.

        Raises:
          AudioError: if the source can't be read or computed, or the target not be written.
        """
        plan = plan_file(Path(source), Path(target), "overwrite", None, subtype)
        (report,) = enhance_folder(self.waves, plan, operator.index(seed), subtype, lambda: False)
        if report.error:
            raise io.AudioError(report.error)
        if report.clipped:
            words = f"{target}: {report.clipped} samples were clipped; a WAV of subtype='FLOAT' keeps them"
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
        """Enhance every audio file below a folder, keeping relative paths; yields a report of each.

        The work is done as the reports are taken: `for report in enhancer.enhance_folder(...)`.
        Reading, computing and writing happen at the same time; files of like length go together. A file that
        can't be read or written is reported, and the others are still enhanced; when the disk is full, those
        not begun are reported as "left".

        Args:
          existing: what to do about outputs that are there: "refuse" to begin, "resume" (keep those that are
            as long as their source and not older), "overwrite".
          format: suffix of the outputs, such as "flac"; None: each source's.
          subtype: their encoding, such as PCM_24; None: each source's, if the format has it.
          share: (i, n): only every n-th file, from the i-th on; so n processes divide a folder. None: all of
            them, or, if `jax.distributed` joined this process with others, those of its number.
          stop: asked before each file and each block of a long one; what is not done by then is "left".

        Raises:
          AudioError: if the source holds no audio file, at once.
          ValueError: if outputs exist and `existing` is "refuse", at once.
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
        """Enhance a signal as it comes: chunks of any size in, as many samples out, a fixed time later.

        The first stream of a config and number of channels compiles a program, the others use it as well.

        Args:
          config: how much the network sees at each step, and how far ahead: what the latency is made of.
            None: steps of 64 ms that see 64 ms ahead, `StreamConfig.from_milliseconds(model)`.
          channels, sample_rate: of the signal; the model's rate if None.
          seed: as in a call.

        Raises:
          TypeError: if `config` is none: a sample rate goes by its name, `stream(sample_rate=16000)`.
          ValueError: if the window doesn't go with the model, or there are no channels or no such rate.
        """
        from rosecd_jax.inference.stream_step import StreamConfig
        from rosecd_jax.inference.streaming import StreamingEnhancer

        if not isinstance(config, StreamConfig | None):
            raise TypeError(
                f"stream({config!r}): expected a StreamConfig; others by name: stream(sample_rate=16000)"
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
