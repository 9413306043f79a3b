"""Front end of models: waves to compressed complex spectrograms and back, in pure jnp.

`stft` is a windowed DFT without normalization, and `istft` its window-square-normalized overlap-add. `stft`,
`istft`, `compress` and `expand` are differentiable, also where the spectrogram is zero.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex64, Float32, Int32

from rosecd_jax.arrays import Array
from rosecd_jax.audio import fft
from rosecd_jax.config import check_fields

Spectra = Complex64[Array, "*shape"]
LEAST_WEIGHT = 1 / 16
"""Lower bound of the overlapped squared window that `istft` divides by."""


def hann_window(length: int) -> Float32[np.ndarray, " {length}"]:
    """Return a periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


def frame_count(samples: int, hop: int) -> int:
    """Return the number of centered frames that `stft` makes of `samples` samples."""
    return 1 + samples // hop


def stft(
    wave: Float32[Array, "*batch samples"], n_fft: int = 510, hop: int = 128
) -> Complex64[Array, "*batch {n_fft//2+1} frames"]:
    """Short-time Fourier transform with a periodic Hann window of `n_fft`, centered, reflect-padded.

    Args:
      wave: at least one sample.

    Returns:
      1 + samples // hop frames.

    Raises:
      ValueError: if the wave has no samples.
    """
    samples = wave.shape[-1]
    if samples == 0:
        raise ValueError("stft needs at least one sample, the wave is empty")
    frames, pieces = frame_count(samples, hop), -(-n_fft // hop)
    half = n_fft // 2
    edges = [(0, 0)] * (wave.ndim - 1)
    wave = jnp.pad(wave, [*edges, (half, half)], mode="reflect")
    # A frame is `pieces` adjacent blocks of one hop: slices instead of a gather.
    total = (frames + pieces - 1) * hop
    wave = jnp.pad(wave, [*edges, (0, max(0, total - wave.shape[-1]))])[..., :total]
    blocks = wave.reshape(*wave.shape[:-1], -1, hop)
    framed = jnp.concatenate([blocks[..., i : i + frames, :] for i in range(pieces)], axis=-1)
    spectrum = fft.rfft(framed[..., :n_fft] * hann_window(n_fft))
    return jnp.swapaxes(spectrum, -1, -2)


def istft(
    spectrogram: Complex64[Array, "*batch {n_fft//2+1} frames"],
    length: int,
    n_fft: int = 510,
    hop: int = 128,
    valid_frames: Int32[Array, ""] | None = None,
) -> Float32[Array, "*batch length"]:
    """Inverse of `stft`: overlap-add divided by the overlapped squared window, cut to `length`.

    For a hop above a third of `n_fft`, the last samples can be under the taper of the last window alone; they
    fade out where it is below a quarter, because the division would amplify errors of the spectrogram.

    Args:
      length: samples of the result; zero beyond the last frame.
      valid_frames: number of frames used; the others are ignored without a change of shape, so that one
        compiled program serves many lengths. None: all.
    """
    frames, pieces = spectrogram.shape[-1], -(-n_fft // hop)
    window = np.pad(hann_window(n_fft), (0, pieces * hop - n_fft))
    framed = fft.irfft(jnp.swapaxes(spectrogram, -1, -2), n_fft)
    framed = jnp.pad(framed, [(0, 0)] * (framed.ndim - 1) + [(0, pieces * hop - n_fft)]) * window
    weight = jnp.broadcast_to(window**2, (frames, window.size))
    if valid_frames is not None:
        counts = (jnp.arange(frames) < valid_frames)[:, None]
        framed, weight = framed * counts, weight * counts
    envelope = _overlap_add(weight, hop)
    wave = _overlap_add(framed, hop) / jnp.maximum(envelope, LEAST_WEIGHT)
    wave = wave[..., n_fft // 2 : n_fft // 2 + length]
    return jnp.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(0, length - wave.shape[-1])])


def _overlap_add(
    framed: Float32[Array, "*batch frames width"], hop: int
) -> Float32[Array, "*batch frames*{hop}+width-{hop}"]:
    """Sum frames that start one hop apart; their width is a multiple of the hop."""
    *lead, frames, width = framed.shape
    pieces = width // hop
    edges = [(0, 0)] * len(lead)
    blocks = framed.reshape(*lead, frames, pieces, hop)
    shifted = [jnp.pad(blocks[..., i, :], [*edges, (i, pieces - 1 - i), (0, 0)]) for i in range(pieces)]
    return sum(shifted[1:], start=shifted[0]).reshape(*lead, -1)


def compress(spectrogram: Spectra, exponent: float = 0.5, factor: float = 0.15) -> Spectra:
    """Amplitude compression X = b |S|^a e^{j arg S} (arXiv 2208.05830, eq. 20)."""
    return factor * _scale_magnitude(spectrogram, exponent)


def expand(compressed: Spectra, exponent: float = 0.5, factor: float = 0.15) -> Spectra:
    """Inverse of `compress`: S = (|X| / b)^{1/a} e^{j arg X}."""
    return _scale_magnitude(compressed / factor, 1.0 / exponent)


def _scale_magnitude(x: Spectra, exponent: float) -> Spectra:
    """Compute |x|^exponent e^{j arg x}, with a zero (not NaN) gradient where x is zero."""
    square = jnp.square(x.real) + jnp.square(x.imag)
    audible = square > 0
    gain = jnp.where(audible, square, 1.0) ** ((exponent - 1.0) / 2.0)
    return x * jnp.where(audible, gain, 0.0)


@dataclasses.dataclass(frozen=True)
class FrontEnd:
    """Constants of a front end; the defaults are those of SGMSE+ and ROSE-CD at 16 kHz.

    Attributes:
      sample_rate: rate of the waves, in Hz.
      n_fft: window and DFT length in samples; there are n_fft // 2 + 1 bins.
      hop: samples from one frame to the next, at most two thirds of n_fft.
      exponent: a in X = b |S|^a e^{j arg S}, at most 1.
      factor: b, likewise.
    """

    sample_rate: int = 16_000
    n_fft: int = 510
    hop: int = 128
    exponent: float = 0.5
    factor: float = 0.15

    def __post_init__(self) -> None:
        least, above = {"sample_rate": 1, "n_fft": 2, "hop": 1}, {"exponent": 0, "factor": 0}
        check_fields(self, "front_end.", least=least, above=above, most={"exponent": 1})
        if 3 * self.hop > 2 * self.n_fft:  # between frames, windows would overlap too little to be divided by
            raise ValueError(
                f"front_end.hop is {self.hop}, it has to be up to two thirds of front_end.n_fft, {self.n_fft}"
            )

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    def frames(self, samples: int) -> int:
        """Return the number of frames of a wave of `samples` samples."""
        return frame_count(samples, self.hop)

    def samples(self, frames: int) -> int:
        """Return the length of a training crop of exactly `frames` frames."""
        return (frames - 1) * self.hop

    @property
    def reach(self) -> int:
        """Half a window in hops, rounded up."""
        return -(-(self.n_fft // 2) // self.hop)

    def stretch(self, frames: int) -> int:
        """Return the number of samples of `frames` frames with `reach` hops on either side."""
        return (frames + 2 * self.reach - 1) * self.hop

    @jax.named_scope("analyze")
    def analyze(
        self, wave: Float32[Array, "*batch samples"]
    ) -> Complex64[Array, "*batch {self.bins} frames"]:
        """Compute the compressed spectrogram of a wave."""
        return compress(stft(wave, self.n_fft, self.hop), self.exponent, self.factor)

    @jax.named_scope("synthesize")
    def synthesize(
        self,
        compressed: Complex64[Array, "*batch {self.bins} frames"],
        length: int,
        valid_frames: Int32[Array, ""] | None = None,
    ) -> Float32[Array, "*batch length"]:
        """Compute the wave of a compressed spectrogram; see `istft`."""
        spectrogram = expand(compressed, self.exponent, self.factor)
        return istft(spectrogram, length, self.n_fft, self.hop, valid_frames)

    analyse, synthesise = analyze, synthesize  # former names
