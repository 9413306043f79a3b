"""TFDS builders of VoiceBank-DEMAND and of paired folders, as array_record files without TensorFlow.

They are shard-based because TFDS's generator-based builders shuffle, which needs TensorFlow for splits above
a gigabyte. Pairs are therefore sorted by name, like those of `PairedFiles`.
"""

import abc
import contextlib
import dataclasses
import fcntl
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.data.pairs import DataError, SplitSummary, mono
from rosecd_jax.data.prepared import INCOMPLETE, METADATA, Origin, find_prepared
from rosecd_jax.data.sources import Split, folder_splits, voicebank_splits
from rosecd_jax.extras import extra

with extra("train", "preparing a data set"):
    import tensorflow_datasets as tfds

__all__ = ["PairedFolder", "PairsBuilder", "VoiceBankDemand", "prepare_folder", "prepare_voicebank"]

SHARD_BYTES = 2**27  # of samples; TFDS holds a shard in memory while it writes it

Progress = Callable[[str, float], None]
"""Called with the stage ("checking" or the name of a split) and the fraction of it that is done, 0 to 1."""


class PairsBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Base class of the builders; examples have "clean" and "noisy", float32 [samples], and a "name".

    Args:
      sample_rate: rate of the data set, in Hz; recordings at other rates are resampled.
      arguments: passed to TFDS.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, sample_rate: int = 16_000, **arguments: Any) -> None:
        self.sample_rate = sample_rate
        self.progress: Progress | None = None
        self.checked: Mapping[str, Split] = {}  # the checked splits of the source
        self.metadata = tfds.core.MetadataDict()  # the fields of Origin, once known
        super().__init__(**{"file_format": "array_record", **arguments})

    @abc.abstractmethod
    def find_splits(self, source: Path, progress: Callable[[float], None] | None) -> Mapping[str, Split]:
        """Find and check the splits of a source."""

    def prepare(self, source: str | os.PathLike[str], progress: Progress | None) -> dict[str, SplitSummary]:
        """Prepare the data set; see `prepare_folder`."""
        source, out = Path(source).resolve(), Path(self._data_dir_root)
        target, found = Path(self.data_dir), find_prepared(out)
        existing = Origin.load(found) if found else None
        wanted = (target, str(source), self.sample_rate)
        if existing and (found, existing.source, existing.sample_rate) != wanted:
            data_set = f"{found}, made from {existing.source} at {existing.sample_rate} Hz"
            raise FileExistsError(f"{out} already holds {data_set}; choose another folder")
        self.progress = progress
        self.checked = self.find_splits(source, progress and partial(progress, "checking"))
        origin = self._origin(source)
        if existing and existing != origin:
            raise FileExistsError(f"{found} was made from files that {source} no longer holds; delete it")
        if (
            found
            and existing
            and (newest := self._newest()).stat().st_mtime > (found / METADATA).stat().st_mtime
        ):
            raise FileExistsError(
                f"{found} is older than {newest}: delete it, or touch its {METADATA} if no recording differs"
            )
        if not existing:
            self._write(source, target)
        return origin.summary()

    def _write(self, source: Path, target: Path) -> None:
        """Write the data set with TFDS, atomically."""
        config = tfds.download.DownloadConfig(manual_dir=source)
        downloads = target.parent / f"{INCOMPLETE}downloads_{target.name}"  # created by TFDS, stays empty
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _locked(target.parent):
                _sweep(target)
                try:
                    self.download_and_prepare(download_dir=downloads, download_config=config)
                finally:
                    _sweep(target)
        except (OSError, RuntimeError) as error:  # RuntimeError: array_record's, as on a full disk
            raise DataError(f"{target}: cannot be written ({error}); choose another folder") from error

    def _newest(self) -> Path:
        """Return the recording, or archive of them, that was modified last."""
        sides = [(Path(str(side)), part.headers) for part in self.checked.values() for side in part.pairs]
        files = {path / name if path.is_dir() else path for path, names in sides for name in names}
        return max(files, key=lambda file: file.stat().st_mtime)

    def _origin(self, source: Path) -> Origin:
        files = {
            split: {name: [header.sample_rate, header.samples] for name, header in part.headers.items()}
            for split, part in self.checked.items()
        }
        return Origin(str(source), self.sample_rate, files)

    def _info(self) -> tfds.core.DatasetInfo:
        wave = tfds.features.Tensor(shape=(None,), dtype=np.float32, encoding="bytes")  # faster than numbers
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict({"clean": wave, "noisy": wave, "name": tfds.features.Text()}),
            supervised_keys=("noisy", "clean"),
            metadata=self.metadata,
        )

    def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, list[Callable[[], Iterator[Any]]]]:
        source = Path(dl_manager.manual_dir).resolve()
        self.checked = self.checked or self.find_splits(source, None)
        self.metadata.update(dataclasses.asdict(self._origin(source)))
        return {
            split: [partial(self._examples, split, shard) for shard in _shards(part, self.sample_rate)]
            for split, part in self.checked.items()
        }

    def _examples(self, split: str, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        pairs, headers = self.checked[split]
        order = {name: position for position, name in enumerate(headers, start=1)}
        for name in names:
            rate = headers[name].sample_rate
            clean, noisy = (io.resample(mono(side, name), rate, self.sample_rate) for side in pairs)
            if clean.shape != noisy.shape:
                raise DataError(f"{pairs.clean}/{name}: changed its length while the data set was prepared")
            if self.progress:
                self.progress(split, order[name] / len(headers))
            yield name, {"clean": clean, "noisy": noisy, "name": name}

    def _log_download_bytes(self) -> None:
        """Do nothing: there are no downloads."""

    _log_download_done = _log_download_bytes


class VoiceBankDemand(PairsBuilder):
    """VoiceBank-DEMAND (Valentini-Botinhao 2017): 26 speakers to train, 2 to validate, 2 to test."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """Put clean_trainset_28spk_wav.zip, noisy_trainset_28spk_wav.zip,
    clean_testset_wav.zip and noisy_testset_wav.zip of https://doi.org/10.7488/ds/2117 there."""

    def find_splits(self, source: Path, progress: Callable[[float], None] | None) -> Mapping[str, Split]:
        return voicebank_splits(source, progress)


class PairedFolder(PairsBuilder):
    """Paired recordings in split/clean and split/noisy, or split/anechoic and split/reverb."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "Put the recordings there, as train/clean and train/noisy."

    def find_splits(self, source: Path, progress: Callable[[float], None] | None) -> Mapping[str, Split]:
        return folder_splits(source, progress)


def prepare_voicebank(
    source: str | os.PathLike[str], out: str | os.PathLike[str], progress: Progress | None = None
) -> dict[str, SplitSummary]:
    """Prepare VoiceBank-DEMAND at 16 kHz; see `voicebank_splits` and `prepare_folder`."""
    return VoiceBankDemand(data_dir=os.fspath(out)).prepare(source, progress)


def prepare_folder(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    sample_rate: int = 16_000,
    progress: Progress | None = None,
) -> dict[str, SplitSummary]:
    """Prepare a data set in `out`, for `PreparedPairs`, from a tree of paired folders; see `folder_splits`.

    An interrupted preparation leaves no data set and has to start over. A finished data set is kept.

    Args:
      sample_rate: rate of the data set, in Hz; recordings at other rates are resampled.
      progress: called after each pair that is checked or written.

    Returns:
      A summary of each split.

    Raises:
      DataError: if the source is invalid, before anything is written; if the samples of a recording are
        damaged; if `out` can't be written, or another process is preparing a data set in it.
      FileExistsError: if `out` holds another data set, or one that is older than a recording of the source.
    """
    return PairedFolder(data_dir=os.fspath(out), sample_rate=sample_rate).prepare(source, progress)


def _shards(part: Split, sample_rate: int) -> list[list[str]]:
    """Group the names of a split into shards of about SHARD_BYTES."""
    sizes = (8 * header.samples * sample_rate // header.sample_rate for header in part.headers.values())
    starts = zip(part.headers, itertools.accumulate(sizes, initial=0), strict=False)
    groups = itertools.groupby(starts, key=lambda start: start[1] // SHARD_BYTES)
    return [[name for name, _ in group] for _, group in groups]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder against preparation by other processes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{folder}: another process is preparing a data set in it; wait") from error
        yield
    finally:
        os.close(descriptor)


def _sweep(target: Path) -> None:
    """Remove unfinished folders of an interrupted preparation of `target`."""
    for leftover in target.parent.glob(f"{INCOMPLETE}*_{target.name}"):
        shutil.rmtree(leftover)
