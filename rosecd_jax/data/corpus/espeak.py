"""Speech synthesis by the espeak-ng library in the package `espeakng-loader`, on Linux and macOS."""

import _ctypes
import ctypes
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rosecd_jax.extras import extra

__all__ = ["SAMPLE_RATE", "speak"]

SAMPLE_RATE = 22050  # Hz, what espeak-ng synthesizes

# Numbers from espeak-ng's speak_lib.h.
SYNCHRONOUS, DO_NOT_EXIT = 2, 0x8000
RATE, VOLUME, PITCH, PITCH_RANGE = 1, 2, 3, 4
UTF8 = 1

SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

_lock = threading.Lock()  # espeak-ng keeps its state in global variables


def speak(
    text: str, voice: str, pitch: int = 50, pitch_range: int = 50, rate: int = 175
) -> NDArray[np.float32]:
    """Synthesize one utterance; deterministic, given the arguments.

    Args:
      text: plain text, in the language of the voice.
      voice: accent+variant, for example "en-us+f2", or an accent alone.
      pitch: 0 to 99; 50 is the voice's default.
      pitch_range: 0 (monotone) to 99; 50 is the voice's default.
      rate: speaking rate in words per minute, 80 to 450.

    Returns:
      float32 [samples] within [-1, 1] at `SAMPLE_RATE`.

    Raises:
      ImportError: if espeakng-loader is not installed.
      ValueError: if the voice is unknown, or pitch, pitch_range or rate is out of range.
      RuntimeError: if espeak-ng does not start, or something else in this process uses the same library.
    """
    for name, value, low, high in (
        ("pitch", pitch, 0, 99),
        ("pitch_range", pitch_range, 0, 99),
        ("rate", rate, 80, 450),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} has to be from {low} to {high}, got {value}")
    library_path, data_path = _paths()
    variant = voice.partition("+")[2]
    # espeak-ng silently ignores unknown variants.
    if variant and not (data_path / "voices" / "!v" / variant).is_file():
        raise ValueError(f"espeak-ng has no variant {variant!r} (voice {voice!r})")

    # The phase of the pitch flutter, gain control and cycle counts are static variables that not even
    # espeak_Terminate resets: only a newly loaded library has a known state. Loading takes about 7 ms.
    with _lock:
        if _is_loaded(library_path):
            raise RuntimeError(
                f"{library_path} is in use elsewhere in this process; synthesize speech in another process"
            )
        library = ctypes.CDLL(library_path)
        settings = {RATE: rate, VOLUME: 100, PITCH: pitch, PITCH_RANGE: pitch_range}
        try:
            samples = _synthesize(library, data_path, text, voice, settings)
        finally:
            _ctypes.dlclose(library._handle)
    return np.frombuffer(samples, np.int16).astype(np.float32) / np.float32(32768)


def _synthesize(
    library: ctypes.CDLL, data_path: Path, text: str, voice: str, settings: Mapping[int, int]
) -> bytes:
    """Synthesize 16-bit samples of a text, with a newly loaded library."""
    pieces: list[bytes] = []

    @SYNTH_CALLBACK
    def collect(samples: int | None, count: int, events: int) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    if library.espeak_Initialize(SYNCHRONOUS, 0, os.fsencode(data_path), DO_NOT_EXIT) != SAMPLE_RATE:
        raise RuntimeError(f"espeak-ng cannot start from {data_path} (paths are limited to 159 bytes)")
    library.espeak_SetSynthCallback(collect)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice!r}")
    for parameter, value in settings.items():
        library.espeak_SetParameter(parameter, value, 0)
    # Breath noise is drawn by the C library's generator, the rest by espeak-ng's own.
    library.srand(1)
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    data = text.encode()
    status = library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 0, 0, UTF8, None, None)
    library.espeak_Terminate()
    if status != 0:
        raise RuntimeError(f"espeak-ng failed with status {status} on the text {text!r}")
    return b"".join(pieces)


def _paths() -> tuple[str, Path]:
    with extra("demo", "synthetic speech"):
        import espeakng_loader
    return espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path())


def _is_loaded(library_path: str) -> bool:
    try:
        handle = _ctypes.dlopen(library_path, os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    _ctypes.dlclose(handle)
    return True
