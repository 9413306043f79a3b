"""A file <-> a compressed complex spectrogram."""

from rosecd_jax.audio.stft import FrontEnd, compress, expand, istft, stft

__all__ = ["FrontEnd", "compress", "expand", "istft", "stft"]
