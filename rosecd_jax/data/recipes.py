"""Recipes of test sets from published corpora: which files, which split, what is added, at which rate.

The values of a file are a pure function of (seed, index). The distributions of the WSJ0 and EARS recipes are
those of the scripts that the authors of SGMSE+ and EARS published; the draws differ.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.data.corpora import Corpus, Utterance, find_partners, find_utterances
from rosecd_jax.data.degradations import (
    AddedNoise,
    Degradation,
    MeasuredRoom,
    Partner,
    SimulatedRoom,
)

__all__ = ["RECIPES", "Draws", "Mix", "Recipe", "open_draws"]

RAMP = 0.01  # seconds


@dataclasses.dataclass(frozen=True)
class Mix:
    """All values of a file, a row of a manifest; paths are below the folders of their corpora.

    Attributes:
      start, samples, noise_start: at the recordings' own rates.
      kind: kind of the noise, or the corpus of the room.
      response: file of a measured room's impulse response.
      channel: channel of the noise or the response.
      t60: seconds; measured, or requested of a simulated room.
      room: a simulated room as JSON: meters, and the seed of its rays.
    """

    file: str
    recipe: str
    split: str
    seed: int
    speaker: str
    speech: str
    start: int
    samples: int
    kind: str = ""
    noise: str = ""
    noise_start: int = 0
    response: str = ""
    channel: int = 0
    snr_db: float | None = None
    t60: float | None = None
    room: str = ""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Definition of a test set.

    Attributes:
      sample_rate: rate of the files, in Hz.
      subtype: libsndfile's name of the WAV files' encoding.
      partners: corpus of noises or room responses; None: none is needed.
      pieces: as in `find_utterances`.
    """

    name: str
    sample_rate: int
    speech: Corpus
    partners: Corpus | None
    degradation: Degradation
    subtype: str = "PCM_16"
    pieces: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Draws:
    """Random access to the draws of a recipe: index -> Mix."""

    recipe: Recipe
    utterances: Sequence[Utterance]
    partners: Sequence[Partner]
    root: Path  # of the second corpus
    split: str
    seed: int

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Mix:
        """Draw the values of a file. Raises DataError if no noise or room fits, AudioError for a bad file."""
        one, rate = self.utterances[index], self.recipe.sample_rate
        generator = np.random.default_rng(np.random.SeedSequence([self.seed, index]))
        samples = io.resampled_length(one.samples, one.sample_rate, rate)
        values = self.recipe.degradation.draw(generator, self.root, self.partners, samples, rate)
        return Mix(
            file=f"{one.name}.wav",
            recipe=self.recipe.name,
            split=self.split,
            seed=self.seed,
            speaker=one.speaker,
            speech=one.path,
            start=one.start,
            samples=one.samples,
            **values,
        )


def open_draws(recipe: Recipe, speech: Path, partners: Path | None, split: str, seed: int) -> Draws:
    """Find the recordings of a recipe in the folders of its corpora.

    Raises:
      DataError: if a folder or recordings are missing, or can't be used.
    """
    utterances = find_utterances(recipe.speech, speech, split, recipe.pieces)
    root = partners or Path()
    found = find_partners(recipe.partners, root, split) if recipe.partners else []
    return Draws(recipe, utterances, found, root, split, seed)


CORE_TEST = (  # speakers: two men and a woman of each of TIMIT's eight dialect regions
    ("mdab0", "mwbt0", "felc0"),
    ("mtas1", "mwew0", "fpas0"),
    ("mjmp0", "mlnt0", "fpkt0"),
    ("mlll0", "mtls0", "fjlm0"),
    ("mbpm0", "mklt0", "fnlp0"),
    ("mcmj0", "mjdh0", "fmgd0"),
    ("mgrt0", "mnjm0", "fdhc0"),
    ("mjln0", "mpam0", "fmld0"),
)

TIMIT = Corpus(
    "TIMIT",
    {"test": [f"*/test/*/{speaker}/s[ix]*" for region in CORE_TEST for speaker in region]},
    "TEST/DR*/SPEAKER/S[IX]*.WAV, eight sentences of each of the 24 core test speakers",
    each=8,
    least_rate=16_000,
)
NOISEX = Corpus(
    "NOISEX-92",
    {"": ["*"]},
    "its noises, such as babble.wav",
    kind=r"/([^/]+)\.[a-z0-9]+$",
    least_rate=16_000,
)
WSJ0 = Corpus(
    "WSJ0",
    {"train": ["*/si_tr_s/*"], "valid": ["*/si_dt_05/*"], "test": ["*/si_et_05/*"]},
    "si_tr_s, si_dt_05 or si_et_05, with SPEAKER/*.wav",
    least_rate=16_000,
)
CHIME3 = Corpus(
    "CHiME-3",
    {"": ["*/backgrounds/*.ch1.wav"]},
    "data/audio/16kHz/backgrounds/*.CH1.wav",
    kind=r"_([a-z]+)\.ch1\.wav$",
    least_rate=16_000,
)
QUT = Corpus(
    "QUT-NOISE",
    {"": ["*/cafe-cafe-1.wav", "*/car-windownb-1.wav", "*/home-kitchen-1.wav", "*/street-city-1.wav"]},
    "CAFE-CAFE-1.wav, CAR-WINDOWNB-1.wav, HOME-KITCHEN-1.wav and STREET-CITY-1.wav",
    kind=r"/([a-z]+)-[^/]*$",
    trim={"car": 120.0},  # sweeps
    least_rate=16_000,
)
EARS = Corpus(
    "EARS",
    {
        "train": [f"*/p{number:03d}/*" for number in range(1, 100)],
        "valid": ["*/p100/*", "*/p101/*"],
        "test": [f"*/p{number}/*" for number in range(102, 108)],
    },
    "p001 to p107, with *.wav",
    without=[f"*/{style}*" for style in ("interjection", "melodic", "nonverbal", "vegetative")],
    least_rate=48_000,
)
WHAM = Corpus("WHAM! at 48 kHz", {"": ["*/audio/*.wav"]}, "high_res_wham/audio/*.wav", least_rate=48_000)
ROOMS = Corpus(
    "EARS-Reverb's room responses",
    {
        "": [
            "*/ace-challenge/*rir.wav",
            "*/air/*/air_wav_files/*.wav",
            "*/arni/*.wav",
            "*/detmoldsrir/*/data/*.wav",
            "*/palimpsest/*.wav",
        ]
    },
    "one or more of ACE-Challenge, AIR, ARNI, DetmoldSRIR and Palimpsest, with *.wav",
    without=["*ir_numclosed_28_numcomb_2743_mic_4_sweep_5.wav"],  # damaged
    needs="any",
    most={"*/arni/*.wav": 1000},
    kind=r"/(ace-challenge|air|arni|detmoldsrir|palimpsest)/",
)

wsj0: Any = functools.partial(Recipe, sample_rate=16_000, speech=WSJ0)
ears: Any = functools.partial(Recipe, sample_rate=48_000, speech=EARS, subtype="FLOAT", pieces=(4.0, 10.0))

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "timit-noisex",
            sample_rate=16_000,
            speech=TIMIT,
            partners=NOISEX,
            degradation=AddedNoise((0.0, 5.0, 10.0, 15.0), choice=True),
        ),
        wsj0("wsj0-chime3", partners=CHIME3, degradation=AddedNoise((0.0, 20.0))),
        wsj0("wsj0-qut", partners=QUT, degradation=AddedNoise((0.0, 15.0))),
        wsj0(
            "wsj0-reverb",
            partners=None,
            degradation=SimulatedRoom((0.4, 1.0), ((5.0, 15.0), (5.0, 15.0), (2.0, 6.0)), wall=1.0),
        ),
        ears(
            "ears-wham",
            partners=WHAM,
            degradation=AddedNoise((-2.5, 17.5), measure="loudness", ramp=RAMP),
        ),
        ears("ears-reverb", partners=ROOMS, degradation=MeasuredRoom(longest=2.0, ramp=RAMP)),
    )
}
"""The recipes by name."""
