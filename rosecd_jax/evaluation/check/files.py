"""Findings about single recordings, independent of their counterparts."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from rosecd_jax.evaluation.check.facts import Facts, Side
from rosecd_jax.evaluation.check.finding import Finding, about, count, measured, span, unmeasured

MODEL_RATES = (16_000, 48_000)  # Hz: of the published models
SHORT_SECONDS = 0.4  # minimum for ESTOI; PESQ needs 0.25 s
SILENCE_DB = -80.0  # of full scale; 16 bits end near -98 dB
LOW_DB, HOT_DB = -55.0, -9.0  # root mean square, of full scale
FULL_SCALE = 1.0 + 2**-15
OFFSET = 0.1  # of the root mean square: no SI-SDR above 20 dB
NARROW = 0.8  # of half the sample rate
LOSSY = ("MPEG", "VORBIS", "OPUS")  # prefixes of libsndfile's names of lossy encodings


def unreadable(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Files that are damaged, empty or not audio, or have NaN or infinite samples."""
    found = {kind: [] for kind in ("unreadable", "not finite")}
    for side in (side for one in facts for side in one.sides if side.problem):
        found[side.problem].append(side.file)
    message = f"{count(len(found['unreadable']), 'file')} can't be read: empty, damaged or not audio"
    remedy = "copy or record them again, or remove them together with their counterparts"
    yield from unmeasured("unreadable", "error", message, remedy, found["unreadable"])
    message = f"{count(len(found['not finite']), 'file')} with NaN or infinite samples"
    remedy = "export them again from their source: scores of such files are meaningless"
    yield from unmeasured("not finite", "error", message, remedy, found["not finite"])


def silence(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Files that are silent or constant."""
    found = measured(facts, lambda side: side.level_db if _is_silent(side) else None)
    message = f"{count(len(found), 'file')} silent or constant"
    remedy = "record or export them again, or remove their pairs: scores against silence are undefined"
    yield from about("silence", "error", message, remedy, found, "dBFS")


def rates(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Sample rates that differ between files, or are not those of the models."""
    found = measured(facts, lambda side: float(side.sample_rate))
    rates = Counter(found.values())
    if not rates:
        return
    usual = rates.most_common(1)[0][0]
    if len(rates) > 1:
        odd = {file: rate for file, rate in found.items() if rate != usual}
        listed = ", ".join(f"{number} of {rate:.0f} Hz" for rate, number in sorted(rates.items()))
        message = f"files of several sample rates: {listed}"
        remedy = "resample all to one rate: `rosecd prepare folder SOURCE OUT --sample-rate HZ`"
        yield from about("rate", "warning", message, remedy, odd, "Hz")
    elif usual not in MODEL_RATES:
        severity = "warning" if usual < MODEL_RATES[0] else "information"
        message = f"all files have {usual:.0f} Hz; models use 16000 or 48000 Hz, and PESQ uses 16000 Hz"
        remedy = "they are resampled when needed; for comparable figures, use the data at 16000 Hz"
        yield Finding("rate", severity, message, remedy)
    elif usual > MODEL_RATES[0]:
        message = f"all files have {usual:.0f} Hz; most published scores are for 16000 Hz"
        yield Finding("rate", "information", message, "for those, resample both sides to 16000 Hz")


def channels(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Files of more than one channel."""
    found = measured(facts, lambda side: float(side.channels) if side.channels > 1 else None)
    message = f"{count(len(found), 'file')} of {span(found.values(), 0, 'channels')}"
    remedy = "keep one channel: scores are means over the channels, and training takes mono only"
    yield from about("channels", "warning", message, remedy, found, "channels")


def short(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Files that are too short for PESQ and ESTOI."""
    found = measured(facts, lambda side: side.seconds if side.seconds < SHORT_SECONDS else None)
    message = (
        f"{count(len(found), 'file')} shorter than {SHORT_SECONDS} s, which is too short for ESTOI or PESQ"
    )
    remedy = "exclude them from an evaluation: their scores are missing from the means"
    yield from about("short", "warning", message, remedy, found, "s")


def level(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Recordings that are very low, very hot or beyond full scale."""
    low = measured(facts, lambda side: side.level_db if SILENCE_DB <= side.level_db < LOW_DB else None)
    message = f"{count(len(low), 'file')} very low, below {LOW_DB:.0f} dBFS"
    remedy = "export them louder, both files of a pair by the same factor: 16 bits add noise at such levels"
    yield from about("level", "warning", message, remedy, low, "dBFS")
    hot = measured(facts, lambda side: side.level_db if side.level_db > HOT_DB else None)
    message = f"{count(len(hot), 'file')} very hot, above {HOT_DB:.0f} dBFS"
    remedy = "listen to them for distortion; turn down both files of a pair by the same factor"
    yield from about("level", "warning", message, remedy, hot, "dBFS")
    beyond = measured(facts, lambda side: side.peak if side.peak > FULL_SCALE else None)
    message = f"{count(len(beyond), 'file')} with samples beyond full scale"
    remedy = "turn down both files of a pair by the same factor: other programs clip such samples"
    yield from about("level", "warning", message, remedy, beyond, "of full scale")


def clipping(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Waves that were clipped, even if they were attenuated later."""
    found = measured(
        facts, lambda side: float(side.clipped) if side.clipped and not _is_silent(side) else None
    )
    message = f"{count(len(found), 'file')} clipped, {span(found.values(), 0, 'samples')} at the peak"
    remedy = "make them again from the sources with a lower gain; clipping can't be undone by scaling"
    yield from about("clipping", "warning", message, remedy, found, "samples")


def offset(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Waves with a constant offset."""
    found = measured(facts, lambda side: 100 * side.offset if abs(side.offset) > OFFSET else None)
    message = (
        f"{count(len(found), 'file')} with a constant offset, {span(found.values(), 1, '%')} of the level"
    )
    remedy = "subtract each file's mean: an offset counts as distortion in SI-SDR"
    yield from about("offset", "warning", message, remedy, found, "%")


def bandwidth(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Material that was upsampled or lossily coded."""

    def edge(side: Side) -> float | None:
        return (
            side.bandwidth
            if not _is_silent(side) and side.bandwidth < NARROW * side.sample_rate / 2
            else None
        )

    found = measured(facts, edge)
    message = f"{count(len(found), 'file')} without content above {span(found.values(), 0, 'Hz')}"
    remedy = (
        "use the originals: these were upsampled or lossily coded, and the missing band can't be restored"
    )
    yield from about("bandwidth", "warning", message, remedy, found, "Hz")
    lossy = [side.file for one in facts for side in one.sides if side.subtype.startswith(LOSSY)]
    message = f"{count(len(lossy), 'file')} in a lossy encoding"
    remedy = "use the originals as WAV or FLAC if they exist: scores include the losses"
    yield from unmeasured("encoding", "information", message, remedy, lossy)


def duplicates(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Files with equal samples, within a side and across splits."""
    clean, noisy = (_alike(facts, side) for side in (lambda one: one.clean, lambda one: one.noisy))
    for name, groups in (("clean", clean), ("noisy", noisy)):
        found = {side.file for group in groups for _, side in group}
        listed = "; ".join(" = ".join(side.file for _, side in group) for group in groups[:3])
        message = f"{count(len(found), f'{name} file')} with the same samples under several names: {listed}"
        same = "the same recording counts several times"
        remedy = f"remove all but one: {same}"
        if name == "clean":
            remedy = f"none if the recording is mixed with several noises; otherwise {remedy}"
        severity = "information" if name == "clean" and not noisy else "warning"
        yield from unmeasured("duplicate", severity, message, remedy, found)
        leaked = [group for group in groups if len({split for split, _ in group}) > 1]
        files = {side.file for group in leaked for _, side in group}
        message = f"{count(len(leaked), f'{name} recording')} in more than one split"
        remedy = "remove them from all but one split: models must not be measured on their training data"
        yield from unmeasured("leak", "error", message, remedy, files)


def _alike(facts: Sequence[Facts], get: Callable[[Facts], Side | None]) -> list[list[tuple[str, Side]]]:
    """Group (split, file) with the same samples, except silent files."""
    groups = defaultdict(list)
    for one in facts:
        side = get(one)
        if side and side.digest and not _is_silent(side):
            groups[side.digest].append((one.split, side))
    return [group for group in groups.values() if len(group) > 1]


def _is_silent(side: Side) -> bool:
    return side.constant or side.level_db < SILENCE_DB
