"""Pairing of a data set's files, and findings about their names."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from rosecd_jax.audio import io
from rosecd_jax.evaluation.check.facts import Facts, Pair
from rosecd_jax.evaluation.check.finding import Finding, count, unmeasured

SIDES = ("clean", "noisy")
SHOWN = 3  # number of pairs of names in a message


def find_pairs(data: Path) -> tuple[list[Pair], list[Finding]]:
    """Find the pairs and single files in DATA/clean and DATA/noisy, or DATA/SPLIT/clean and DATA/SPLIT/noisy.

    Returns:
      The pairs, sorted, and findings about files that can't be read as audio.

    Raises:
      AudioError: if there are no such folders, or a side has no audio file.
    """
    pairs, findings = [], []
    for split in _splits(data):
        files: list[dict[str, str]] = []
        for side in SIDES:
            folder = data / split / side
            found = io.look(folder)
            paths = [file.relative_to(folder).as_posix() for file in found.files]
            files.append({name: str(PurePosixPath(split, side, name)) for name in paths})
            others = [file.relative_to(data).as_posix() for file in found.others]
            message = f"{count(len(others), 'audio file')} in an unsupported format"
            findings += unmeasured("unreadable", "warning", message, "convert them to WAV or FLAC", others)
            for error in found.errors:
                findings.append(Finding("unreadable", "error", error, "", (str(PurePosixPath(split, side)),)))
        pairs += _match(data, split, *files)
    return pairs, findings


def _splits(data: Path) -> list[str]:
    """List the folders below DATA with clean/ and noisy/; "" for DATA itself."""
    if not data.is_dir():
        raise io.AudioError(f"{data}: no such folder; give a folder that holds clean/ and noisy/")
    if any((data / side).is_dir() for side in SIDES):
        if missing := [side for side in SIDES if not (data / side).is_dir()]:
            raise io.AudioError(
                f"{data}: holds no {missing[0]}/; each file of clean/ needs the noisy recording of the same "
                "name in noisy/"
            )
        return [""]
    below = sorted(path.name for path in data.iterdir() if all((path / side).is_dir() for side in SIDES))
    if below:
        return below
    audio = sum(1 for path in data.iterdir() if path.is_file() and io.is_audio(PurePosixPath(path.name)))
    holds = f"holds {count(audio, 'audio file')}, but" if audio else "holds"
    raise io.AudioError(
        f"{data}: {holds} neither clean/ and noisy/ nor folders with these two in them; to check pairs, "
        "put the clean recordings into clean/ and the noisy ones, under the same names, into noisy/"
    )


def _match(data: Path, split: str, clean: dict[str, str], noisy: dict[str, str]) -> Iterator[Pair]:
    """Pair files by name, as in an evaluation: with the same path, or the same except for the suffix."""
    left, by_stem = dict(noisy), defaultdict(list)
    for name in noisy:
        by_stem[_stem(name)].append(name)
    found = {name: left.pop(name) for name in clean if name in left}
    for name in sorted(clean):
        other = next((other for other in by_stem[_stem(name)] if other in left), None)
        if name not in found and other:
            found[name] = left.pop(other)
        yield Pair(data, split, clean[name], found.get(name))
    for name in sorted(left):
        yield Pair(data, split, None, left[name])


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def names(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Files without a counterpart, misnamed files, and duplicate names."""
    files = [side.file for one in facts for side in one.sides]
    alike = Counter(map(_stem, files))
    twice = {file for file in files if alike[_stem(file)] > 1}
    message = f"{count(len(twice), 'file')} of one side differ from another one only in the suffix"
    remedy = "keep one file of each name: otherwise it is undefined which one is compared"
    yield from unmeasured("ambiguous", "error", message, remedy, twice)

    missing = {one.clean.file for one in facts if one.clean and not one.noisy} - twice
    extra = {one.noisy.file for one in facts if one.noisy and not one.clean} - twice
    renamed = _renamed(missing, extra)
    if renamed:
        listed = "; ".join(f"{old} -> {new}" for old, new in list(renamed.items())[:SHOWN])
        more = f" and {len(renamed) - SHOWN} more" if len(renamed) > SHOWN else ""
        message = f"{count(len(renamed), 'noisy file')} under another name than the clean one"
        remedy = f"rename: {listed}{more}"
        yield from unmeasured("misnamed", "error", message, remedy, renamed)
    missing -= {clean for clean in missing if any(_is_name_of(new, clean) for new in renamed.values())}
    extra -= set(renamed)
    message = f"{count(len(missing), 'clean file')} without a noisy one"
    remedy = "add the noisy recording under the same name, or remove the clean one"
    yield from unmeasured("missing", "error", message, remedy, missing)
    message = f"{count(len(extra), 'noisy file')} without a clean one"
    remedy = "add the clean recording under the same name, or remove the noisy one"
    yield from unmeasured("extra", "error", message, remedy, extra)

    whole = [(one.clean.file, one.noisy.file) for one in facts if one.clean and one.noisy]
    other = [noisy for clean, noisy in whole if PurePosixPath(clean).suffix != PurePosixPath(noisy).suffix]
    message = f"{count(len(other), 'pair')} of two suffixes"
    remedy = "none for an evaluation; for training, give both files of a pair the same format and suffix"
    yield from unmeasured("suffix", "information", message, remedy, other)


def _renamed(missing: set[str], extra: set[str]) -> dict[str, str]:
    """Map noisy files to their correct names, if exactly one clean and one noisy file share a key."""
    by_key: dict[tuple[str, str], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for index, files in enumerate((missing, extra)):
        for file in sorted(files):
            by_key[_key(file)][index].append(file)
    found = {}
    for clean, noisy in by_key.values():
        if len(clean) == len(noisy) == 1:
            suffix = PurePosixPath(noisy[0]).suffix
            found[noisy[0]] = _swap_side(str(PurePosixPath(clean[0]).with_suffix(suffix)))
    return found


def _key(file: str) -> tuple[str, str]:
    """Reduce a path to the parts that rarely differ: split, and number or bare name."""
    path = PurePosixPath(file)
    split = path.parts[0] if path.parts[0] not in SIDES else ""
    stem = path.stem.lower()
    if number := re.search(r"fileid_\d+", stem):  # of the DNS challenge
        return split, number[0]
    words = [word for word in re.split(r"[^a-z0-9]+", stem) if word not in (*SIDES, "mix", "noise", "speech")]
    return split, "_".join(filter(None, words))


def _swap_side(file: str) -> str:
    """Return the noisy path that corresponds to a clean one."""
    parts = list(PurePosixPath(file).parts)
    parts[0 if parts[0] in SIDES else 1] = SIDES[1]
    return str(PurePosixPath(*parts))


def _is_name_of(noisy: str, clean: str) -> bool:
    return _stem(_swap_side(clean)) == _stem(noisy)
