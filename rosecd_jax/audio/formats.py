"""What audio files there are: suffixes, and what is known of a file."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Suffix -> libsndfile's format. Headerless and MATLAB files are left out: there a suffix says too little.
FORMATS = {".wav": "WAV", ".flac": "FLAC", ".mp3": "MP3", ".caf": "CAF", ".w64": "W64", ".rf64": "RF64"}
FORMATS |= {".wave": "WAV", ".bwf": "WAV", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG"}
FORMATS |= {".aif": "AIFF", ".aiff": "AIFF", ".aifc": "AIFF", ".voc": "VOC"}
FORMATS |= {".au": "AU", ".snd": "AU", ".sph": "NIST", ".nist": "NIST"}
# What libsndfile reads, and claims to write but doesn't.
UNWRITABLE = {
    ("MP3", "MPEG_LAYER_I"),
    ("MP3", "MPEG_LAYER_II"),
    ("WAV", "MPEG_LAYER_III"),
    ("AIFF", "DWVW_12"),
}
# Suffixes of sound that libsndfile can't read or write, film with its sound among it.
OTHERS = {".aac", ".ac3", ".alac", ".amr", ".ape", ".awb", ".dff", ".dsf", ".dts", ".eac3", ".gsm", ".m4a"}
OTHERS |= {".m4b", ".mka", ".mp1", ".mp2", ".mpc", ".mpga", ".ra", ".spx", ".tta", ".weba", ".wma", ".wv"}
OTHERS |= {".3g2", ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".rm"}
OTHERS |= {".webm", ".wmv", ".pcm", ".vox"}


NO_TAGS: Mapping[str, str] = {}


class Audio(NamedTuple):
    """A file's wave, float32 [channels, samples], and what is needed to write its like."""

    wave: NDArray[np.float32]
    sample_rate: int  # Hz
    subtype: str  # sample encoding, in libsndfile's words: PCM_16, PCM_24, FLOAT, ...
    format: str  # container: WAV, FLAC, OGG, ...
    bit_rate: float = 0.0  # bits a second, of the whole file; 0: unknown
    tags: Mapping[str, str] = NO_TAGS  # title, artist, ..., in soundfile's words


class AudioInfo(NamedTuple):
    """What a file's header says; the last four as in `Audio`."""

    sample_rate: int  # Hz
    channels: int
    samples: int  # per channel
    subtype: str
    format: str
    bit_rate: float = 0.0
    tags: Mapping[str, str] = NO_TAGS


class AudioError(ValueError):
    """Audio that cannot be found, read or written. The message names the file and the remedy."""
