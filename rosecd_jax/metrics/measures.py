"""Names, units, limits and functions of all measures."""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from rosecd_jax.extras import Extra
from rosecd_jax.metrics import perceptual, phonemes, ratios, reference_free, spectral
from rosecd_jax.metrics.checks import Wave

BEST_RATIO = 100.0
"""Upper limit of ratios in dB, so that a perfect file can enter a mean."""
WORST_RATIO = -50.0
"""Lower limit of ratios in dB, about that of unrelated noise."""


class Measure(NamedTuple):
    """A score of one file.

    Attributes:
      name: key in results and options.
      title, unit, digits: title, unit and decimal places of printed scores.
      better: "higher" or "lower", whichever is better; "" if neither is.
      worst: limit on the worse side, also the score of an estimate for which the measure is undefined.
      best: limit on the other side.
      source: paper, standard or code.
    """

    name: str
    title: str
    unit: str
    digits: int
    better: Literal["higher", "lower", ""]
    worst: float
    best: float
    source: str


class Family(NamedTuple):
    """Measures that are computed together.

    Attributes:
      measures: descriptions, in the order of the function's results.
      function: (clean, noisy, estimate, sample_rate) -> scores; nan where one is undefined.
      packages: optional packages that the function needs.
      extra: the extra that installs them.
    """

    measures: tuple[Measure, ...]
    function: Callable[[Wave, Wave, Wave, int], Sequence[float]]
    packages: tuple[str, ...] = ()
    extra: Extra | None = None

    @property
    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(MODULES.get(name, name)) is None]

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages."""
        return {name: importlib.metadata.version(name) for name in self.packages}


MODULES = {"visqol-python": "visqol"}


def _ratio(name: str, title: str, source: str) -> Measure:
    return Measure(name, title, "dB", 1, "higher", WORST_RATIO, BEST_RATIO, source)


def _opinion(name: str, title: str, source: str, digits: int = 2) -> Measure:
    return Measure(name, title, "", digits, "higher", 1.0, 5.0, source)


FAMILIES = (
    Family(
        (
            Measure(
                "pesq", "PESQ", "", 2, "higher", perceptual.SILENCED["wb"], 4.644, "wide band, ITU-T P.862.2"
            ),
        ),
        lambda clean, noisy, estimate, rate: [perceptual.pesq(clean, estimate, rate)],
        ("pesq",),
        "eval",
    ),
    Family(
        (Measure("estoi", "ESTOI", "", 3, "higher", -1.0, 1.0, "Jensen and Taal 2016"),),
        lambda clean, noisy, estimate, rate: [perceptual.estoi(clean, estimate, rate)],
        ("pystoi",),
        "eval",
    ),
    Family(
        (
            _ratio("si_sdr", "SI-SDR", "Le Roux et al. 2019"),
            _ratio("si_sir", "SI-SIR", "Le Roux et al. 2019, projections taken alone"),
            _ratio("si_sar", "SI-SAR", "Le Roux et al. 2019, projections taken alone"),
        ),
        lambda clean, noisy, estimate, rate: ratios.energy_ratios(clean, estimate, noisy - clean),
    ),
    Family(
        (
            Measure(
                "pesq_nb",
                "PESQ-NB",
                "",
                2,
                "higher",
                perceptual.SILENCED["nb"],
                4.549,
                "narrow band, ITU-T P.862.1",
            ),
        ),
        lambda clean, noisy, estimate, rate: [perceptual.pesq_narrow(clean, estimate, rate)],
        ("pesq",),
        "eval",
    ),
    Family(
        (Measure("stoi", "STOI", "", 3, "higher", -1.0, 1.0, "Taal et al. 2011"),),
        lambda clean, noisy, estimate, rate: [perceptual.stoi(clean, estimate, rate)],
        ("pystoi",),
        "eval",
    ),
    Family(
        (
            Measure("seg_snr", "segSNR", "dB", 1, "higher", *ratios.SEGMENT_RANGE, "Loizou's code, 30 ms"),
            Measure("lsd", "LSD", "dB", 2, "lower", 80.0, 0.0, "32 ms frames, floor 80 dB below the peak"),
        ),
        lambda clean, noisy, estimate, rate: [
            ratios.segmental_snr(clean, estimate, rate),
            spectral.log_spectral_distance(clean, estimate, rate),
        ],
    ),
    Family(
        tuple(
            _opinion(name, name.upper(), "Hu and Loizou 2008, as Loizou's composite.m, wide-band PESQ")
            for name in spectral.Composite._fields
        ),
        lambda clean, noisy, estimate, rate: spectral.composite(clean, estimate, rate),
        ("pesq",),
        "eval",
    ),
    Family(
        (_opinion("visqol", "ViSQOL", "speech mode, polynomial mapping"),),
        lambda clean, noisy, estimate, rate: [perceptual.visqol(clean, estimate, rate)],
        ("visqol-python",),
        "visqol",
    ),
    Family(
        (Measure("lps", "LPS", "", 3, "higher", -1.0, 1.0, "phonemes recognized by pocketsphinx"),),
        lambda clean, noisy, estimate, rate: [phonemes.phoneme_similarity(clean, estimate, rate)],
        ("pocketsphinx",),
        "lps",
    ),
    Family(
        tuple(
            _opinion(f"dnsmos_{name}", f"DNSMOS {name.upper()}", "P.808" if name == "p808" else "P.835")
            for name in reference_free.Opinions._fields
        ),
        lambda clean, noisy, estimate, rate: reference_free.dnsmos(estimate, rate),
        ("speechmos", "onnxruntime"),
        "mos",
    ),
    Family(
        (
            Measure("level", "level", "dB", 1, "", -100.0, 100.0, "RMS against the input's"),
            Measure("clipped", "clipped", "", 4, "lower", 1.0, 0.0, "share of samples at full scale"),
            Measure(
                "silenced", "silenced", "", 3, "", 1.0, 0.0, "share of 32 ms frames 40 dB below the input"
            ),
        ),
        lambda clean, noisy, estimate, rate: [
            reference_free.level_change(noisy, estimate),
            reference_free.clipped_share(estimate),
            reference_free.silenced_share(noisy, estimate, rate),
        ],
    ),
)

MEASURES: dict[str, Measure] = {measure.name: measure for family in FAMILIES for measure in family.measures}
"""Every measure by its name."""
USUAL = ("pesq", "estoi", "si_sdr", "si_sir", "si_sar")
"""Default measures of an evaluation, and those of validation."""


def families(names: Sequence[str]) -> list[Family]:
    """Return the families that contain these measures, in order.

    Raises:
      ValueError: for an unknown measure, listing the known ones.
    """
    if unknown := [name for name in names if name not in MEASURES]:
        raise ValueError(f"no measure {unknown[0]!r}; expected one of {', '.join(MEASURES)}, or all")
    return [family for family in FAMILIES if any(measure.name in names for measure in family.measures)]
