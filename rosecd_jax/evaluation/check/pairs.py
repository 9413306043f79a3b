"""Findings about pairs: whether the files match, and how they were mixed."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from rosecd_jax.evaluation.check.facts import Facts, Relation, Side
from rosecd_jax.evaluation.check.finding import Finding, Severity, about, count, span
from rosecd_jax.evaluation.pairing import HOPS_SECONDS

EQUAL_DB = 70.0  # minimum SNR of equal files, to the last bits
GAIN_DB = 0.5  # maximum gain between clean and noisy: of the median, and of a file without noise
INDEPENDENT = 200  # independent samples per second, for chance correlation of noise and speech
NOISE_DB = -10.0  # median SNR below which a warning is given
DELAY_SECONDS = 0.00025  # minimum delay that is an error
UNLIKE = 0.1  # correlation below which a file isn't merely very noisy, but another recording


def pair_rates(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Pairs with different sample rates."""
    pairs = [(clean, noisy) for clean, noisy in _pairs(facts) if clean.sample_rate != noisy.sample_rate]
    found = {noisy.file: float(noisy.sample_rate) for _, noisy in pairs}
    kinds = sorted({f"clean {clean.sample_rate} Hz, noisy {noisy.sample_rate} Hz" for clean, noisy in pairs})
    message = f"{count(len(found), 'pair')} with different sample rates: {'; '.join(kinds)}"
    remedy = "resample one side: `rosecd prepare folder SOURCE OUT` makes a set of one rate"
    if all(clean.samples == noisy.samples for clean, noisy in pairs):
        remedy = "both have the same number of samples, so one header is wrong: write it with the right rate"
    yield from about("rate", "error", message, remedy, found, "Hz")


def pair_channels(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Pairs with different numbers of channels."""
    pairs = [(clean, noisy) for clean, noisy in _pairs(facts) if clean.channels != noisy.channels]
    found = {noisy.file: float(noisy.channels) for _, noisy in pairs}
    message = f"{count(len(found), 'pair')} with different numbers of channels"
    remedy = "keep the same channels on both sides: such pairs can't be scored"
    yield from about("channels", "error", message, remedy, found, "channels")


def lengths(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Pairs with different lengths: an evaluation trims up to 32 ms, and refuses larger differences."""
    found: dict[Severity, dict[str, float]] = {"error": {}, "warning": {}}
    for clean, noisy in _pairs(facts):
        if clean.sample_rate == noisy.sample_rate and clean.samples != noisy.samples:
            more = noisy.samples - clean.samples
            severity = "error" if abs(more) > HOPS_SECONDS * clean.sample_rate else "warning"
            found[severity][noisy.file] = float(more)
    remedy = "find out which end differs (see `delay`), then cut or pad both files to one length"
    for severity, files in found.items():
        message = f"{count(len(files), 'noisy file')} longer (below 0: shorter) than the clean one, by "
        message += span(files.values(), 0, "samples")
        yield from about("length", severity, message, remedy, files, "samples")


def delays(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Noisy files that are delayed or early."""
    known = [(one, side) for one, _, side in _related(facts) if one.delay is not None]
    shifted = {side.file: float(one.delay) for one, side in known if one.delay}
    times = [1000 * one.delay / side.sample_rate for one, side in known if one.delay]
    if not shifted:
        return
    alike = len(set(shifted.values())) == 1 and len(shifted) == len(known) > 1
    which = (
        f"all {len(shifted)} noisy files" if alike else f"{len(shifted)} of {count(len(known), 'noisy file')}"
    )
    how = f"{span(shifted.values(), 0, 'samples')} ({span(times, 2, 'ms')})"
    remedy = (
        "cut the delay off the beginning of the noisy file (below 0: of the clean one), and make both as long"
    )
    if alike:
        remedy = f"one constant delay, as of a codec or a filter: {remedy}"
    severity = "error" if max(map(abs, times)) > 1000 * DELAY_SECONDS else "warning"
    yield from about(
        "delay", severity, f"{which} late (below 0: early), by {how}", remedy, shifted, "samples"
    )


def unlike(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Noisy files that don't contain their clean file."""
    found = {side.file: one.correlation for one, _, side in _related(facts) if one.delay is None}
    severity = "error" if any(abs(value) < UNLIKE for value in found.values()) else "warning"
    message = f"{count(len(found), 'noisy file')} without the clean speech, correlation {_span(found, 2, '')}"
    remedy = "compare the names: other recordings were paired; an SNR below -14 dB looks the same"
    yield from about("unlike", severity, message, remedy, found)


def swapped(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Pairs with clean and noisy swapped."""
    related = list(_related(facts))
    found = {noisy.file: one.snr_db for one, clean, noisy in related if _is_swapped(one, clean, noisy)}
    which = f"{len(found)} of {count(len(related), 'clean file')} noisier than the noisy one"
    message, remedy = which, "swap the two files of these pairs"
    if len(found) > len(related) / 2:
        message, remedy = f"clean/ and noisy/ are swapped: {which}", "rename the two folders"
    yield from about("swapped", "error", message, remedy, found, "dB")


def equal(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Noisy files that equal the clean one."""
    found = {side.file: one.snr_db for one, _, side in _related(facts) if _is_equal(one)}
    message = f"{count(len(found), 'noisy file')} without noise: the same as the clean one"
    remedy = "add the noise, or remove these pairs: they raise every mean, and are useless for training"
    yield from about("equal", "error", message, remedy, found, "dB")


def gains(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Noisy files that contain the clean one inverted or at another level."""
    related = [triple for triple in _related(facts) if triple[0].delay is not None]
    inverted = {noisy.file: one.correlation for one, _, noisy in related if one.gain < 0}
    message = f"{count(len(inverted), 'noisy file')} with the clean one inverted"
    remedy = "multiply one side by -1: otherwise training and most scores are wrong"
    yield from about("polarity", "error", message, remedy, inverted)
    gain = {
        noisy.file: (_gain_db(one), _tolerance(one, clean))
        for one, clean, noisy in related
        if one.gain and not _is_swapped(one, clean, noisy)
    }
    if not gain:
        return
    middle = float(np.median([value for value, _ in gain.values()]))
    everywhere = abs(middle) > GAIN_DB
    found = {file: value for file, (value, most) in gain.items() if everywhere or abs(value) > most}
    message = f"{len(found)} of {count(len(gain), 'noisy file')} with the clean one at another level: "
    message += f"{_span(found, 1, 'dB')} (median of all {middle:.1f} dB)"
    remedy = (
        "scale the clean file by this factor, so that noisy = clean + noise: otherwise SI-SIR and SI-SAR are "
        "wrong, and a model learns the gain"
    )
    yield from about("gain", "warning", message, remedy, found, "dB")


def snrs(facts: Sequence[Facts]) -> Iterator[Finding]:
    """The distribution of the signal-to-noise ratio."""
    ratios = [
        one.added_snr_db if abs(_gain_db(one)) < _tolerance(one, clean) else one.snr_db
        for one, clean, _ in _related(facts)
        if one.delay is not None and not _is_equal(one)
    ]
    if not ratios:
        return
    quantiles = np.percentile(ratios, (0, 10, 50, 90, 100))
    words = ", ".join(f"{round(value, 1) + 0.0:.1f}" for value in quantiles)
    message = f"SNR of {count(len(ratios), 'pair')}: {words} dB (least, 10 %, median, 90 %, greatest)"
    if quantiles[2] < NOISE_DB:
        remedy = "check that the noise was scaled as intended: published sets have 0 to 20 dB"
        yield Finding("snr", "warning", message, remedy)
    else:
        yield Finding("snr", "information", message)


def _pairs(facts: Sequence[Facts]) -> list[tuple[Side, Side]]:
    return [one.pair for one in facts if one.pair]


def _related(facts: Sequence[Facts]) -> Iterator[tuple[Relation, Side, Side]]:
    for one in facts:
        if one.relation and one.pair:
            yield one.relation, *one.pair


def _is_equal(one: Relation) -> bool:
    return one.snr_db > EQUAL_DB


def _is_swapped(one: Relation, clean: Side, noisy: Side) -> bool:
    return one.is_swapped(clean.dynamics_db, noisy.dynamics_db)


def _gain_db(one: Relation) -> float:
    return 20 * math.log10(abs(one.gain)) if one.gain else -math.inf


def _tolerance(one: Relation, clean: Side) -> float:
    """Tolerance of a gain in dB, for chance correlation of noise and speech."""
    deviation = 10 ** (-one.snr_db / 20) / math.sqrt(INDEPENDENT * clean.seconds)
    return GAIN_DB + 4 * 20 * math.log10(1 + deviation)


def _span(found: dict[str, float], digits: int, unit: str) -> str:
    return span(found.values(), digits, unit)
