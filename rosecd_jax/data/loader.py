"""Batches of crops of paired recordings, with grain: deterministic given a seed, resumable at any batch."""

import dataclasses
import signal
from typing import TYPE_CHECKING, Any

import numpy as np

from rosecd_jax.config import check_fields
from rosecd_jax.data.mixing import ENDLESS, MixConfig, Mixer, open_mixer
from rosecd_jax.data.pairs import DataError, PairedFiles
from rosecd_jax.data.prepared import PreparedPairs, open_pairs
from rosecd_jax.extras import extra
from rosecd_jax.processes import serve_parent

if TYPE_CHECKING:
    import grain

Pairs = PreparedPairs | PairedFiles
"""Random access to paired recordings: index -> {"clean", "noisy"}, float32 [samples]."""
Source = Pairs | Mixer
"""Source of batches: pairs, or single recordings that are mixed on the fly."""


@dataclasses.dataclass(frozen=True)
class LoaderConfig:
    """Config of batches, made from pairs (`path`) or from recordings mixed on the fly (`speech`).

    Attributes:
      path: a data set made by `rosecd prepare`, or a folder with split/clean and split/noisy (or
        split/anechoic and split/reverb), files paired by their relative paths.
      split: name of the split to read.
      speech, noise, rir: folders of clean speech, noise and room impulse responses, of any format, rate and
        length; join several by ":". With `speech`, training examples are mixed from them, and `path` is for
        validation only. Without `noise`, all noise is synthetic or babble.
      mix: distributions of the mixes.
      frames: length of a crop in spectrogram frames.
      batch_size: examples in one network call, over all devices of all hosts.
      threads: prefetching threads per reading process.
      workers: processes that read and crop; 0: only threads of the training process. The batches are the same
        for any number.
    """

    path: str = ""
    split: str = "train"
    speech: str = ""
    noise: str = ""
    rir: str = ""
    mix: MixConfig = MixConfig()
    frames: int = 256
    batch_size: int = 14
    threads: int = 2
    workers: int = 0

    def __post_init__(self) -> None:
        least = {"frames": 1, "batch_size": 1, "threads": 1, "workers": 0}
        check_fields(self, "data.", least=least)


def open_source(config: LoaderConfig, sample_rate: int, remedy: str = "") -> Source:
    """Open the source of a config's batches, and check all headers.

    Raises:
      DataError: naming the files that don't fit; `remedy` is appended to the message.
    """
    if config.speech:
        return open_mixer(config.speech, config.noise, config.rir, config.mix, sample_rate)
    if config.noise or config.rir:
        raise DataError("no speech to mix with the noise: --config.data.speech=FOLDER")
    if not config.path:
        raise DataError(
            "no training data: --config.data.path=FOLDER, made by `rosecd prepare`, or "
            "--config.data.speech=FOLDER and --config.data.noise=FOLDER"
        )
    try:
        return open_pairs(config.path, config.split, sample_rate)
    except DataError as error:
        raise DataError(f"{error}\n{remedy}" if remedy else str(error)) from error


def random_crop(
    pair: dict[str, np.ndarray], samples: int, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Crop both waves at the same random position, zero-pad if shorter, and divide by max |noisy|."""
    slack = pair["noisy"].size - samples
    return _crop(pair, samples, int(generator.integers(slack + 1)) if slack > 0 else int(slack / 2))


def center_crop(pair: dict[str, np.ndarray], samples: int) -> dict[str, np.ndarray]:
    """Crop as `random_crop` does, but from the middle."""
    return _crop(pair, samples, int((pair["noisy"].size - samples) / 2))


def _crop(pair: dict[str, np.ndarray], samples: int, start: int) -> dict[str, np.ndarray]:
    """Crop `samples` samples from `start`, with zeros outside the waves; divide by max |noisy|."""
    left = max(0, -start)
    kept = {side: wave[max(0, start) :][: samples - left] for side, wave in pair.items()}
    peak = np.abs(kept["noisy"]).max(initial=0.0) or 1.0
    crops = {side: np.zeros(samples, np.float32) for side in pair}
    for side, wave in kept.items():
        crops[side][left : left + wave.size] = wave / peak
    return crops


@dataclasses.dataclass(frozen=True)
class Share:
    """Share of every batch that this process makes: number `process`, from 0, of `processes` equal parts."""

    process: int = 0
    processes: int = 1


def training_batches(
    source: Source, config: LoaderConfig, samples: int, seed: int, start: int = 0, share: Share = Share()
) -> "grain.DatasetIterator[Any]":
    """Iterate endlessly over {"clean", "noisy"}, float32 [batch_size / processes, samples].

    Pairs are shuffled differently in each epoch, and cropped; mixes never repeat. A batch depends only on its
    number and the seed, so that a checkpoint stores just the number, and any number of hosts, workers and
    threads makes the same batches. The iterator's `close` ends workers and threads.

    Args:
      source: see `open_source`.
      samples: length of a crop.
      start: number of the first batch.
      share: the share of each batch to make.
    """
    with extra("train", "reading training data"):
        import grain
        from absl import flags

    local = config.batch_size // share.processes
    if isinstance(source, Mixer):
        mixes: Any = source.pairs(seed, samples)
        dataset = grain.MapDataset.source(mixes).map(lambda pair: center_crop(pair, samples))
    else:
        dataset = grain.MapDataset.source(source).seed(seed).shuffle().repeat(ENDLESS // len(source))
        dataset = dataset.random_map(lambda pair, generator: random_crop(pair, samples, generator))
    dataset = dataset.batch(local)
    dataset = dataset[start * share.processes + share.process :: share.processes]
    options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=4 * config.threads)
    iterable = dataset.to_iter_dataset(options)
    if config.workers:
        if not flags.FLAGS.is_parsed():  # grain passes absl's flags to its workers
            flags.FLAGS.mark_as_parsed()
        options = grain.MultiprocessingOptions(num_workers=config.workers)
        iterable = iterable.mp_prefetch(options, worker_init_fn=_begin_work)
    return iter(iterable)


def _begin_work(worker: int, workers: int) -> None:
    del worker, workers
    serve_parent(signal.SIGINT, signal.SIGTERM)
