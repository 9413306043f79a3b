"""Paired recordings -> batches of crops, by grain: deterministic in its seed, resumable at any step."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rosecd_jax.audio import io


class DataError(ValueError):
    """Training data that can't be used; the message names the files and the remedy."""


@dataclasses.dataclass(frozen=True)
class LoaderConfig:
    """How batches are made.

    Attributes:
      path: a folder that holds split/clean and split/noisy, files paired by their relative paths.
      split: which of its splits to read.
      frames: length of a crop in spectrogram frames.
      batch_size: examples in one network call, over all devices.
      threads: that read ahead.
    """

    path: str = ""
    split: str = "train"
    frames: int = 256
    batch_size: int = 14
    threads: int = 2


class PairedFiles:
    """Random access to a folder's pairs, as grain wants it: index -> {"clean", "noisy"}, float32 [samples].

    Raises:
      DataError: if the folders are missing or empty, or a file has no partner; while reading, if a pair
        differs in length or is not mono at `sample_rate`.
    """

    def __init__(self, folder: str | Path, sample_rate: int) -> None:
        self.clean, self.noisy = Path(folder) / "clean", Path(folder) / "noisy"
        self.sample_rate = sample_rate
        names = []
        for side in (self.clean, self.noisy):
            if not side.is_dir():
                raise DataError(f"{side}: no such folder; training data is split/clean and split/noisy")
            names.append({str(file.relative_to(side)) for file in io.find(side)})
        alone = sorted(names[0] ^ names[1])
        if alone:
            raise DataError(f"{folder}: {len(alone)} files without a partner, the first: {alone[0]}")
        self.names = sorted(names[0])

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> dict[str, np.ndarray]:
        name = self.names[index]
        pair = {"clean": io.read(self.clean / name), "noisy": io.read(self.noisy / name)}
        for side, audio in pair.items():
            if audio.sample_rate != self.sample_rate or len(audio.wave) != 1:
                raise DataError(
                    f"{getattr(self, side) / name}: {audio.sample_rate} Hz, {len(audio.wave)} channels; "
                    f"training needs mono at {self.sample_rate} Hz"
                )
        clean, noisy = pair["clean"].wave[0], pair["noisy"].wave[0]
        if clean.shape != noisy.shape:
            raise DataError(f"{self.clean / name}: {clean.size} samples, its noisy partner {noisy.size}")
        return {"clean": clean, "noisy": noisy}


def random_crop(
    pair: dict[str, np.ndarray], samples: int, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """The same random crop of both waves, zero-padded on both sides when shorter, divided by max |noisy|."""
    length = pair["noisy"].size
    if length >= samples:
        start = int(generator.integers(length - samples + 1))
        crops = {side: wave[start : start + samples] for side, wave in pair.items()}
    else:
        left = (samples - length) // 2
        crops = {side: np.pad(wave, (left, samples - length - left)) for side, wave in pair.items()}
    peak = np.abs(crops["noisy"]).max()
    return {side: (wave / (peak or 1.0)).astype(np.float32) for side, wave in crops.items()}


def training_batches(config: LoaderConfig, samples: int, sample_rate: int, seed: int) -> Iterator[Any]:
    """An endless iterator of {"clean", "noisy"}: float32 [batch_size, samples], shuffled anew in each epoch.

    It is grain's: `get_state()` and `set_state(state)` say and set where it stands.

    Raises:
      DataError: see `PairedFiles`; also if `config.path` is not set.
    """
    import grain

    if not config.path:
        raise DataError("no training data: --config.data.path=FOLDER with train/clean and train/noisy")
    source = PairedFiles(Path(config.path) / config.split, sample_rate)
    dataset = (
        grain.MapDataset.source(source)
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(lambda pair, generator: random_crop(pair, samples, generator))
        .batch(config.batch_size)
    )
    options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=4 * config.threads)
    return iter(dataset.to_iter_dataset(options))
