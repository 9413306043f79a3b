"""Audio formats by suffix, and types for a file's wave and header."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Suffix -> libsndfile's format. Headerless and MATLAB files are excluded: their suffixes are ambiguous.
FORMATS = {".wav": "WAV", ".flac": "FLAC", ".mp3": "MP3", ".caf": "CAF", ".w64": "W64", ".rf64": "RF64"}
FORMATS |= {".wave": "WAV", ".bwf": "WAV", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG"}
FORMATS |= {".aif": "AIFF", ".aiff": "AIFF", ".aifc": "AIFF", ".voc": "VOC"}
FORMATS |= {".au": "AU", ".snd": "AU", ".sph": "NIST", ".nist": "NIST"}
# Encodings that libsndfile reads, and claims to write, but can't write.
UNWRITABLE = {
    ("MP3", "MPEG_LAYER_I"),
    ("MP3", "MPEG_LAYER_II"),
    ("WAV", "MPEG_LAYER_III"),
    ("AIFF", "DWVW_12"),
    ("AIFF", "DWVW_16"),
    ("AIFF", "DWVW_24"),
}
# Suffixes of audio and video files that libsndfile can't read or write.
OTHERS = {".aac", ".ac3", ".alac", ".amr", ".ape", ".awb", ".dff", ".dsf", ".dts", ".eac3", ".gsm", ".m4a"}
OTHERS |= {".m4b", ".mka", ".mp1", ".mp2", ".mpc", ".mpga", ".ra", ".spx", ".tta", ".weba", ".wma", ".wv"}
OTHERS |= {".3g2", ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".rm"}
OTHERS |= {".webm", ".wmv", ".pcm", ".vox"}


NO_TAGS: Mapping[str, str] = {}


class Audio(NamedTuple):
    """A file's wave, float32 [channels, samples], and its format."""

    wave: NDArray[np.float32]
    sample_rate: int  # Hz
    subtype: str  # sample encoding, as named by libsndfile: PCM_16, PCM_24, FLOAT, ...
    format: str  # container: WAV, FLAC, OGG, ...
    bit_rate: float = 0.0  # bits per second, of the whole file; 0: unknown
    tags: Mapping[str, str] = NO_TAGS  # title, artist, ..., as named by soundfile


class AudioInfo(NamedTuple):
    """A file's header; the last four fields as in `Audio`."""

    sample_rate: int  # Hz
    channels: int
    samples: int  # per channel
    subtype: str
    format: str
    bit_rate: float = 0.0
    tags: Mapping[str, str] = NO_TAGS


class AudioError(ValueError):
    """Error in finding, reading or writing audio. The message names the file and the remedy."""
