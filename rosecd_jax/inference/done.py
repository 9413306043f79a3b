"""Whether an earlier run has made an output already."""

from pathlib import Path

from rosecd_jax.audio import io


def is_done(source: Path, header: io.AudioInfo, target: Path, subtype: str | None) -> bool:
    """Whether the target is complete (as long as the source), not older than it, and encoded as asked.

    `header` is the source's. A target whose encoding fills up its last block is longer by what was filled up.
    """
    try:
        made, current = io.info(target), target.stat().st_mtime >= source.stat().st_mtime
    except (io.AudioError, OSError):
        return False
    as_asked = subtype is None or made.subtype == subtype.upper()
    if not (current and as_asked and made[:2] == header[:2]):
        return False
    lengths = range(max(1, made.samples - io.most_padding(made)), made.samples + 1)
    return header.samples in lengths or _samples(source) in lengths


def _samples(path: Path) -> int:
    """How long a file is when it is read, or 0: headers of MP3 files that were cut promise more."""
    try:
        return sum(block.shape[1] for block in io.read_blocks(path))
    except (io.AudioError, OSError):
        return 0
