"""Sources and targets of an enhancement, and all checks that are possible before the work starts."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from rosecd_jax.atomic import existing_part
from rosecd_jax.audio import io
from rosecd_jax.inference.report import Report, Status

Existing = Literal["refuse", "resume", "overwrite"]
THREADS = min(4, os.cpu_count() or 1)


class Job(NamedTuple):
    """A file to be enhanced, with its header."""

    source: Path
    target: Path
    header: io.AudioInfo

    @property
    def seconds(self) -> float:
        return self.header.samples / self.header.sample_rate

    def is_done(self, subtype: str | None) -> bool:
        """Return whether the target is complete, of the source's length, not older, and encoded as requested.

        A target may be longer by the padding of its encoding's last block.
        """
        header, target = self.header, self.target
        try:
            found, current = io.info(target), target.stat().st_mtime >= self.source.stat().st_mtime
        except (io.AudioError, OSError):
            return False
        as_requested = subtype is None or found.subtype == subtype.upper()
        if not (current and as_requested and found[:2] == header[:2]):
            return False
        lengths = range(max(1, found.samples - io.most_padding(found)), found.samples + 1)
        return header.samples in lengths or _samples(self.source) in lengths

    def report(self, status: Status, error: str = "") -> Report:
        return Report(self.source, self.target, status, self.seconds, error)


class Plan(NamedTuple):
    """Files to be enhanced, and reports of those that needn't or can't be."""

    jobs: list[Job]
    settled: list[Report]


def plan_folder(
    source: Path,
    target: Path,
    existing: Existing,
    format: str | None,
    subtype: str | None,
    share: tuple[int, int],
) -> Plan:
    """Read the headers of a folder's files and check existing outputs; arguments as in `Enhancer`."""
    if existing not in ("refuse", "resume", "overwrite"):
        raise ValueError(f"existing is {existing!r}; expected refuse, resume or overwrite")
    if not 0 <= share[0] < share[1]:
        raise ValueError(f"share is {share}; expected (i, n) with 0 <= i < n")
    _refuse_folders(source, target)
    looked = io.look(source)
    found, others = (_outside(target, source, some) for some in (looked.files, looked.others))
    if not found:
        raise io.AudioError(f"{source}: no audio files but those in {target}; check the spelling")
    if format:
        format = format.lower().removeprefix(".")
        _refuse_unfit(target, f".{format}", subtype)
    targets = _targets(source, target, found, format, subtype)
    mine = list(targets.items())[share[0] :: share[1]]
    if existing == "refuse":
        _refuse_existing([output for _, (output, error) in mine if not error and output.exists()], len(mine))
    with ThreadPoolExecutor(THREADS) as pool:
        settled = list(pool.map(lambda item: _settle(item, existing, subtype), mine))
    jobs = [item for item in settled if isinstance(item, Job)]
    reports = [item for item in settled if isinstance(item, Report)]
    if share[0] == 0:
        reports += [Report(source, target, "failed", 0.0, error) for error in looked.errors]
        reports += [Report(file, target / file.relative_to(source), "skipped", 0.0) for file in others]
    return Plan(jobs, reports)


def _refuse_folders(source: Path, target: Path) -> None:
    if source.is_file():
        raise io.AudioError(f"{source}: is a file; give a folder")
    if not source.exists():
        raise io.AudioError(f"{source}: {io.missing(source, 'no such file or folder')}; check the spelling")
    if target.exists() and not target.is_dir():
        raise io.AudioError(f"{target}: is a file; a folder's output needs a folder")
    if _real(source) == _real(target):
        raise io.AudioError(f"{target}: is the input itself; choose another output")
    _refuse_unwritable(target)


def _refuse_existing(existing: list[Path], outputs: int) -> None:
    if existing:
        raise ValueError(
            f"{len(existing)} of {outputs} outputs exist already, such as {existing[0]}; pass --resume to "
            "keep those that are complete and up to date, or --overwrite to replace them all"
        )


def _settle(item: tuple[Path, tuple[Path, str]], existing: Existing, subtype: str | None) -> Job | Report:
    """Return a job for a file of `_targets`, or a report if it needs none, based on its header."""
    file, (target, error) = item
    if error:
        return Report(file, target, "failed", 0.0, error)
    try:
        return _look(file, target, existing, subtype)
    except (io.AudioError, OSError) as refusal:
        return Report(file, target, "failed", 0.0, str(refusal))


def _look(source: Path, target: Path, existing: Existing, subtype: str | None) -> Job | Report:
    """Read a file's header and return as `_settle`; raise AudioError if the file or its output is invalid."""
    job = Job(source, target, io.info(source))
    wanted = fitting_subtype(target, job.header, subtype)
    io.refuse_misfit(target, job.header.sample_rate, job.header.channels, wanted)
    return job.report("kept") if existing == "resume" and job.is_done(subtype) else job


def _outside(target: Path, source: Path, found: list[Path]) -> list[Path]:
    """Exclude earlier outputs, in case the output folder is inside the input folder."""
    output = _real(target)
    if source.absolute() in target.absolute().parents:  # by name: it may be a link to elsewhere
        found = [file for file in found if target.absolute() not in file.absolute().parents]
    if _real(source) in output.parents:
        found = [file for file in found if output not in _real(file).parents]
    return found


def plan_file(
    source: Path, target: Path, existing: Existing, format: str | None, subtype: str | None
) -> Plan:
    """Plan one file, like `plan_folder`; `target` is a file, or a folder for one of the source's name."""
    format = format and format.lower().removeprefix(".")
    if target.is_dir() or not target.suffix:
        target = target / (source.with_suffix(f".{format}") if format else source).name
    if source.exists() and target.exists() and source.samefile(target):
        raise io.AudioError(f"{target}: is the input itself; choose another output")
    if format and target.suffix.lower() != f".{format}":
        raise ValueError(f"{target}: the suffix is not that of {format}; leave out --format")
    if not target.suffix:
        raise io.AudioError(f"{target}: a suffix is missing; add one, or give --format")
    _refuse_unfit(target, target.suffix, subtype)
    _refuse_unwritable(target.parent)
    found = _look(source, target, existing, subtype)
    if target.exists() and existing == "refuse":
        raise ValueError(f"{target} exists; pass --overwrite to replace it, or choose another output")
    return Plan([found], []) if isinstance(found, Job) else Plan([], [found])


def _real(path: Path) -> Path:
    """Resolve links; unlike `Path.resolve`, allow cycles."""
    return Path(os.path.realpath(path))


def _refuse_unwritable(folder: Path) -> None:
    existing = existing_part(folder)
    if existing.is_dir() and not os.access(existing, os.W_OK | os.X_OK):
        raise io.AudioError(f"{existing}: can't be written; change its permissions or choose another output")


def _refuse_unfit(target: Path, suffix: str, subtype: str | None) -> None:
    known = io.subtypes(suffix)
    if not known:
        unknown = f"{target}: unknown format {suffix.removeprefix('.')}"
        raise io.AudioError(f"{unknown}; expected one of {' '.join(io.FORMATS)}")
    if not io.fits(f"a{suffix}", subtype):
        raise io.AudioError(f"{target}: {suffix} has no subtype {subtype}; use one of {' '.join(known)}")


def _targets(
    source: Path, target: Path, found: list[Path], format: str | None, subtype: str | None
) -> dict[Path, tuple[Path, str]]:
    """Map each file to its output, and an error if it can't be written there."""
    root = _real(target)
    sources = {_real(file) for file in found}
    outputs: dict[Path, tuple[Path, str]] = {}
    owners: dict[Path, Path] = {}
    for file in found:
        output = target / file.relative_to(source)
        if format:
            output = output.with_suffix(f".{format}")
        folder = _real(output.parent)
        owner = owners.setdefault(folder / output.name, file)  # the real path: OUT may contain links
        error = ""
        if owner is not file:
            error = f"{file}: would be written to {output}, like {owner}; rename one of them"
        elif folder != root and root not in folder.parents:
            error = f"{file}: {output.parent} is a link that leads out of {target}; remove it"
        elif folder / output.name in sources:
            error = f"{file}: would overwrite the input {output}; choose another output folder"
        elif output.is_dir():
            error = f"{file}: {output} is a folder; remove it or choose another output folder"
        elif not io.fits(output, subtype):
            error = f"{file}: {output.suffix} doesn't support subtype {subtype}; give --format too"
        outputs[file] = output, error
    return outputs


def fitting_subtype(target: Path, source: io.Audio | io.AudioInfo, wanted: str | None) -> str | None:
    """Choose an output's encoding: `wanted`, else the source's, else one as deep, else the default."""
    if wanted is not None:
        return wanted
    same_format = io.FORMATS.get(target.suffix.lower()) == source.format
    subtype = source.subtype if same_format else source.subtype.replace("ALAC_", "PCM_")
    plain = subtype.startswith("PCM_") or subtype in ("FLOAT", "DOUBLE")
    if (same_format or plain) and io.fits(target, subtype):
        return subtype
    deep = plain and subtype not in ("PCM_S8", "PCM_U8", "PCM_16")
    return "PCM_24" if deep and io.fits(target, "PCM_24") else None


def _samples(path: Path) -> int:
    """Count a file's samples by reading it, 0 on errors: headers of truncated MP3 files claim more."""
    try:
        return sum(block.shape[1] for block in io.read_blocks(path))
    except (io.AudioError, OSError):
        return 0
