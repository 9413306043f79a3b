"""Comparison of VoiceBank-DEMAND's test set with the published scores of its noisy files."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from rosecd_jax.evaluation.check.facts import Facts
from rosecd_jax.evaluation.check.finding import Finding
from rosecd_jax.evaluation.statistics import mean_interval

TEST_SET = "VoiceBank-DEMAND"
FILES = 824
NAME = re.compile(r"p(232|257)_\d{3}")


class Published(NamedTuple):
    """Published mean over the noisy files of the whole test set."""

    title: str
    mean: float
    tolerance: float  # rounding, resamplers, versions of packages
    digits: int
    unit: str = ""


PUBLISHED = {
    "pesq": Published("PESQ", 1.97, 0.02, 2),
    "estoi": Published("ESTOI", 0.79, 0.01, 3),
    "si_sdr": Published("SI-SDR", 8.4, 0.15, 1, "dB"),
}
CAUSES = {
    "pesq": "PESQ is wide-band (mode wb) at 16000 Hz; narrow-band scores are about 1 higher",
    "estoi": "ESTOI is extended (pystoi, extended=True); STOI is about 0.13 higher",
    "si_sdr": "SI-SDR falls if the files are not aligned, and changes with the resampler by 0.1 dB",
}


def is_test_set(files: Sequence[str]) -> bool:
    """Return whether all clean files are named like those of the test set's two speakers."""
    return bool(files) and all(NAME.fullmatch(PurePosixPath(file).stem) for file in files)


def voicebank(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Compare the scores of the noisy files with the published ones."""
    for split in sorted({one.split for one in facts}):
        of_split = [one for one in facts if one.split == split]
        if is_test_set([one.clean.file for one in of_split if one.clean]):
            yield from _compare([one for one in of_split if one.pair])


def _compare(facts: Sequence[Facts]) -> Iterator[Finding]:
    scores = [one.scores for one in facts if one.scores]
    means, far = [], []
    for name, published in PUBLISHED.items():
        values = np.array([getattr(one, name) for one in scores], np.float64)
        values = values[~np.isnan(values)]
        if values.size:
            low, high = mean_interval(values)[1:3]
            digits = published.digits
            mean = (
                f"{values.mean():.{digits}f} ({low:.{digits}f} to {high:.{digits}f}) {published.unit}".strip()
            )
            means.append(f"{published.title} {mean}, published {published.mean:g}")
            if abs(values.mean() - published.mean) > published.tolerance:
                far.append(name)
    which = f"names of VoiceBank-DEMAND's test set, {len(facts)} of {FILES} pairs"
    if not means:
        remedy = "install the extra `eval` to compare its noisy files' scores with the published ones"
        yield Finding("voicebank", "information", f"{which}; not scored", remedy)
        return
    message = f"{which}; mean scores of the noisy files (95 % interval): {'; '.join(means)}"
    if len(facts) < FILES:
        remedy = f"means over a part of the set can't be compared with published ones: use all {FILES} pairs"
        yield Finding("voicebank", "information", message, remedy)
    elif far or len(facts) > FILES:
        causes = [CAUSES[name] for name in far]
        remedy = "these are not the published recordings: prepare them with `rosecd prepare voicebank`"
        yield Finding("voicebank", "warning", message, "; ".join([remedy, *causes]))
    else:
        yield Finding("voicebank", "information", f"{message}: it is the published set")
