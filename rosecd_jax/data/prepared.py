"""Random access to prepared data sets without TensorFlow; `open_pairs` opens these and plain folders."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from rosecd_jax.data.pairs import DataError, PairedFiles, SplitSummary
from rosecd_jax.extras import extra

__all__ = ["INCOMPLETE", "METADATA", "Origin", "PreparedPairs", "find_prepared", "open_pairs"]

INCOMPLETE = "incomplete."  # prefix of TFDS's unfinished folders
METADATA = "metadata.json"  # written by TFDS


@dataclasses.dataclass(frozen=True)
class Origin:
    """The source of a data set, as stored in its metadata.json."""

    source: str  # the folder
    sample_rate: int  # Hz, of the data set
    files: dict[
        str, dict[str, list[int]]
    ]  # split -> name -> [Hz, samples] of the source; in the data's order

    @classmethod
    def load(cls, directory: Path) -> "Origin":
        """Read metadata.json; raises DataError if the directory holds no data set of pairs."""
        try:
            return cls(**json.loads((directory / METADATA).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"{directory}: not made by `rosecd prepare` ({error}); give a data set that is"
            ) from error

    def summary(self) -> dict[str, SplitSummary]:
        """Return the number and length of pairs in each split."""
        return {
            split: SplitSummary(len(files), sum(samples / rate for rate, samples in files.values()))
            for split, files in self.files.items()
        }


class PreparedPairs:
    """Random access to a split of a prepared data set: index -> {"clean", "noisy"}, float32 [samples].

    Thread-safe and picklable; a copy in another process opens the files again.

    Args:
      path: the data set, or a folder that holds it as TFDS places it (name/version).

    Raises:
      DataError: if there is no such data set or split, it is empty, at another rate than `sample_rate` (Hz),
        or lacks files. While reading, if its data is damaged.
    """

    def __init__(self, path: str | Path, split: str, sample_rate: int) -> None:
        directory = find_prepared(Path(path))
        if directory is None:
            raise DataError(f"{path}: no prepared data set; make one with `rosecd prepare`")
        origin = Origin.load(directory)
        if split not in origin.files:
            raise DataError(f"{directory}: no split {split!r}; it has {', '.join(origin.files)}")
        if sample_rate != origin.sample_rate:
            raise DataError(
                f"{directory}: at {origin.sample_rate} Hz, not {sample_rate} Hz; prepare it at that rate"
            )
        self.directory, self.split, self.sample_rate = directory, split, sample_rate
        self.names = list(origin.files[split])
        if not self.names:
            raise DataError(f"{directory}: the split {split!r} is empty; prepare it with files in it")
        try:
            shards = self._builder.info.splits[split].filepaths
        except Exception as error:  # TFDS passes on any error of its parsers
            raise DataError(f"{directory}: is damaged ({error}); delete it and prepare it again") from error
        if lost := [shard.name for shard in shards if not shard.exists()]:
            raise DataError(f"{directory}: lacks {', '.join(lost)}; delete it and prepare it again")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> dict[str, np.ndarray]:
        position = range(len(self))[index]
        try:
            example = self._examples[position]
        except (RuntimeError, ValueError, IndexError) as error:
            where = f"{self.directory}: {self.split} pair {self.names[position]}"
            raise DataError(
                f"{where} is damaged ({error}); delete the data set and prepare it again"
            ) from error
        return {side: np.array(example[side]) for side in ("clean", "noisy")}  # writable, unlike TFDS's

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_builder", "_examples")}

    @functools.cached_property
    def _builder(self) -> Any:
        with extra("train", "a prepared data set"):
            import tensorflow_datasets as tfds

        return tfds.builder_from_directory(self.directory)

    @functools.cached_property
    def _examples(self) -> Any:
        return self._builder.as_data_source(self.split)


def open_pairs(path: str | Path, split: str, sample_rate: int) -> PreparedPairs | PairedFiles:
    """Open a split's pairs: those of the prepared data set at `path`, or of the folders in `path`/`split`.

    Raises:
      DataError: if there is neither; see `PreparedPairs` and `PairedFiles`.
    """
    path = Path(path)
    if find_prepared(path):
        return PreparedPairs(path, split, sample_rate)
    if not (path / split).is_dir():
        raise DataError(
            f"{path / split}: no such folder, and {path} is not a prepared data set; "
            "give a folder with split/clean and split/noisy, or a data set made by `rosecd prepare`"
        )
    return PairedFiles(path / split, sample_rate)


def find_prepared(path: Path) -> Path | None:
    """Find the finished data set at a path, or below it, as name/version.

    Raises DataError if there are several.
    """
    for pattern in ("", "*/", "*/*/"):
        files = path.glob(f"{pattern}dataset_info.json")
        found = sorted(file.parent for file in files if not file.parent.name.startswith(INCOMPLETE))
        if len(found) > 1:
            raise DataError(f"{path}: holds several data sets; give one of {', '.join(map(str, found))}")
        if found:
            return found[0]
    return None
