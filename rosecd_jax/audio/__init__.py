"""Audio files, resampling, and the front end between waves and compressed complex spectrograms."""

from rosecd_jax.audio.stft import FrontEnd, compress, expand, istft, stft

__all__ = ["FrontEnd", "compress", "expand", "istft", "stft"]
