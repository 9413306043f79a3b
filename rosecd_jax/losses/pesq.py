"""Differentiable P.862 distance (PESQ without time alignment), as defined by PyPI's torch-pesq.

Both filters of the standard are linear and stable, so they are applied as truncated impulse responses in the
frequency domain: in parallel, and exactly in float32.

The constants are in the order of ITU-T P.862 (02/2001): clause 10.1, level alignment, and clause 10.2, the
perceptual model. Their values are those of the reference implementation (annex A), unless noted.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.signal
from jaxtyping import Float32

from rosecd_jax.arrays import Array
from rosecd_jax.audio import fft
from rosecd_jax.audio.stft import hann_window
from rosecd_jax.losses import bark

Waves = Float32[Array, "B samples"]
Powers = Float32[Array, "B frames 49"]
"""Powers of the Bark bands of each frame."""

SAMPLE_RATE = 16_000
TAPS = 2048
"""Length of the impulse responses, which by then are below 1e-25 of their peaks."""
LEAST_SAMPLES = 5248
"""Minimum number of samples for SPLIT_FRAMES frames, with the padding of `_prepare`."""
_TINY = 1e-20

# Clause 10.1: level and time alignment pre-processing, without the time alignment.
LEVEL_BAND, LEVEL_ORDER = (325, 3250), 5
"""Band in Hz and order of torch-pesq's Butterworth band-pass, after which the mean power is measured."""
LEVEL_POWER = 1e7
"""Mean power to which the band is scaled."""
LEVEL_EXTRA_SAMPLES, LEVEL_DIVISOR = 5120, 1.04684
"""Constants by which torch-pesq measures the power as the reference implementation does."""
EMPHASIS = [2.740826, -5.4816519, 2.740826], [1.0, -1.9444777, 0.94597794]
"""The input filter of wide-band mode (P.862.2) at 16 kHz, a biquad (b, a)."""
FADE = 16
"""Samples over which both ends are faded before the pre-emphasis."""

# Clause 10.2: the perceptual model, from a wave to Bark powers.
WINDOW, HOP = 512, 256
"""Samples: Hann windows of 32 ms that overlap by half."""

# Clause 10.2: partial compensation of the frequency response, and of gain variations.
SPEECH_THRESHOLD = 100.0
"""Multiple of the hearing threshold above which a band counts in the mean spectrum."""
SPEECH_POWER = 1e7
"""Minimum total power of those bands in a frame with speech."""
RESPONSE_OFFSET, RESPONSE_LIMITS = 1000.0, (0.01, 100.0)
"""Added to both mean spectra; bounds of their ratio, ±20 dB."""
GAIN_OFFSET, GAIN_LIMITS = 5e3, (3e-4, 5.0)
"""Added to both audible powers of a frame; bounds of their ratio."""
GAIN_MEMORY = 0.2
"""Weight of the preceding frame's ratio in the smoothed one."""

# Clause 10.2: loudness densities, by Zwicker's law.
ZWICKER_EXPONENT = 0.23
LOW_BARK, LOW_BARK_OFFSET, LOW_BARK_MOST, LOW_BARK_EXPONENT = 6.0, 2.0, 2.0, 0.15
"""Under 4 Bark the exponent is larger, by the factor clip(6 / (bark + 2), 1, 2)^0.15."""

# Clause 10.2: disturbance densities, symmetric and asymmetric.
DEAD_ZONE = 0.25
"""Fraction of the smaller of two loudness densities up to which their difference is inaudible."""
ASYMMETRY_OFFSET, ASYMMETRY_EXPONENT = 50.0, 1.2
ASYMMETRY_LEAST, ASYMMETRY_MOST = 3.0, 12.0
"""Factor of the asymmetric disturbance: ((P_deg + 50) / (P_ref + 50))^1.2, 0 if under 3, 12 at most."""

# Clause 10.2: aggregation over bands, over split seconds, over all, and the score.
FRAME_OFFSET, FRAME_SCALE, FRAME_EXPONENT = 1e5, 1e7, 0.04
"""A frame of audible power P is divided by ((P + 1e5) / 1e7)^0.04."""
SYMMETRIC_ORDER, ASYMMETRIC_ORDER = 2, 1
"""Norms over the bands of a frame."""
DISTURBANCE_MOST = 45.0
"""Bound of a frame's disturbance."""
SPLIT_FRAMES, SPLIT_HOP, SPLIT_ORDER = 20, 10, 6
"""A split second: L6 over 20 frames, overlapping by half, so that it is the sum of two hops."""
SYMMETRIC_WEIGHT, ASYMMETRIC_WEIGHT = 0.1, 0.0309
"""The score is 4.5 − 0.1 D_sym − 0.0309 D_asym; the loss is the part subtracted from 4.5."""


@functools.cache
def _impulse_responses() -> tuple[np.ndarray, np.ndarray]:
    """Return the responses of level band-pass and pre-emphasis, float64 [TAPS]."""
    # Rounded to float32 as in torch-pesq, which in this direct form shifts the band's edges slightly.
    band_pass = scipy.signal.butter(LEVEL_ORDER, LEVEL_BAND, fs=SAMPLE_RATE, btype="band")
    filters = (np.array(f, np.float32).astype(np.float64) for f in (band_pass, EMPHASIS))
    by_band, by_emphasis = (np.asarray(scipy.signal.lfilter(b, a, np.eye(1, TAPS)[0])) for b, a in filters)
    return by_band, by_emphasis


def _filter(wave: Waves, response: np.ndarray) -> Waves:
    """Convolve causally with `response`, keeping the input's length."""
    samples = wave.shape[-1]
    response = response[:samples]
    size = scipy.fft.next_fast_len(samples + len(response) - 1, real=True)
    spectrum = np.fft.rfft(response, size).astype(np.complex64)
    return fft.irfft(fft.rfft(wave, size) * spectrum, size)[..., :samples]


def _prepare(wave: Waves) -> Powers:
    """Convert waves to Bark powers: scale the level, fade the ends, pre-emphasize, sum bands."""
    band_pass, emphasis = _impulse_responses()
    samples = wave.shape[-1]
    energy = jnp.sum(_filter(wave, band_pass) ** 2, -1, keepdims=True)
    power = energy / (samples + LEVEL_EXTRA_SAMPLES) / LEVEL_DIVISOR
    audible = power > _TINY
    wave = wave * jnp.where(audible, jnp.sqrt(LEVEL_POWER / jnp.where(audible, power, 1.0)), 0.0)
    rise = np.minimum(1.0, np.arange(1, samples + 1) / FADE)
    fade = rise * rise[::-1]
    wave = _filter(wave * fade.astype(np.float32), emphasis)
    # Padded by samples % HOP, not to a multiple of HOP, as in the reference implementation.
    wave = jnp.pad(wave, [(0, 0), (0, samples % HOP)])
    frames = (wave.shape[-1] - WINDOW) // HOP + 1
    blocks = wave[:, : (frames + 1) * HOP].reshape(-1, frames + 1, HOP)
    framed = jnp.concatenate([blocks[:, :-1], blocks[:, 1:]], axis=-1) * hann_window(WINDOW)
    spectrum = fft.rfft(framed)[..., :-1]
    energy = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    energy = energy.at[..., 0].set(0.0)
    return (energy @ bark.BAND_MATRIX) * bark.POWER_CORRECTION.astype(np.float32)


def _audible(powers: Powers, factor: float) -> Powers:
    """Zero band powers below `factor` times the hearing threshold."""
    return jnp.where(powers > bark.HEARING_THRESHOLD * factor, powers, 0.0)


def _loudness(powers: Powers) -> Powers:
    """Compute the Zwicker loudness of each band, zero below the threshold of hearing."""
    threshold = bark.HEARING_THRESHOLD
    growth = np.clip(LOW_BARK / (bark.CENTER + LOW_BARK_OFFSET), 1.0, LOW_BARK_MOST) ** LOW_BARK_EXPONENT
    exponent = (growth * ZWICKER_EXPONENT).astype(np.float32)
    scale = ((2 * threshold) ** exponent * bark.LOUDNESS_SCALE).astype(np.float32)
    loud = scale * ((0.5 + 0.5 * powers / threshold.astype(np.float32)) ** exponent - 1)
    return jnp.where(powers > threshold, loud, 0.0)


def _norm(disturbance: Powers, order: int) -> Float32[Array, "B frames"]:
    """Compute the norm over bands, weighted by their widths; at least _TINY, with no gradient there."""
    total = bark.WIDTH[1:].sum()
    weighted = (disturbance * (bark.WIDTH / total ** (1 / order)).astype(np.float32))[..., 1:]
    if order == 1:
        return jnp.maximum(total * jnp.sum(jnp.abs(weighted), -1), _TINY)
    square = jnp.sum(weighted**2, -1)
    heard = square > 0
    return jnp.where(heard, total * jnp.sqrt(jnp.where(heard, square, 1.0)), _TINY)


def _over_time(disturbance: Float32[Array, "2 B frames"]) -> Float32[Array, "2 B"]:
    """Compute the L6 norm over split seconds, then the root mean square over them."""
    halves = disturbance.shape[-1] // SPLIT_HOP
    # Scaled by the maximum, as sixth powers soon over- or underflow float32.
    peak = jax.lax.stop_gradient(jnp.max(disturbance, -1, keepdims=True))
    scaled = (disturbance / peak)[..., : halves * SPLIT_HOP].reshape(*disturbance.shape[:-1], halves, -1)
    sums = jnp.sum(scaled**SPLIT_ORDER, -1)
    sixth = (sums[..., 1:] + sums[..., :-1]) / SPLIT_FRAMES
    audible = sixth > 0
    split_second = jnp.where(audible, jnp.where(audible, sixth, 1.0) ** (1 / SPLIT_ORDER), 0.0)
    return peak[..., 0] * jnp.sqrt(jnp.mean(split_second**2, -1))


@jax.named_scope("pesq")
def pesq_loss(reference: Waves, degraded: Waves) -> Float32[Array, " B"]:
    """Compute 0.1 D_sym + 0.0309 D_asym of ITU-T P.862, clause 10.2: lower is better, 0 for equal waves.

    Differentiable in both; finite for silence.

    Args:
      reference, degraded: waves at 16 kHz, of at least LEAST_SAMPLES samples.

    Raises:
      ValueError: if the waves are shorter than that.
    """
    samples = reference.shape[-1]
    if samples < LEAST_SAMPLES:
        raise ValueError(f"the PESQ loss needs at least {LEAST_SAMPLES} samples, these waves have {samples}")
    peak = jnp.maximum(
        jnp.max(jnp.abs(reference), -1, keepdims=True), jnp.max(jnp.abs(degraded), -1, keepdims=True)
    )
    peak = jax.lax.stop_gradient(jnp.where(peak > 0, peak, 1.0))  # the result doesn't depend on it
    ref, deg = _prepare(reference / peak), _prepare(degraded / peak)

    # Equalize the reference to the mean spectrum of the degraded signal, over frames that hold speech.
    strong_ref, strong_deg = (_audible(powers, SPEECH_THRESHOLD) for powers in (ref, deg))
    speech = (jnp.sum(strong_ref, -1) >= SPEECH_POWER)[..., None]
    mean_ref, mean_deg = (jnp.mean(powers * speech, axis=1) for powers in (strong_ref, strong_deg))
    response = (mean_deg + RESPONSE_OFFSET) / (mean_ref + RESPONSE_OFFSET)
    ref = ref * jnp.clip(response, *RESPONSE_LIMITS)[:, None]

    # Equalize the degraded signal to the level of the reference, frame by frame, lightly smoothed.
    total_ref = jnp.sum(_audible(ref, 1.0), -1)
    gain = (total_ref + GAIN_OFFSET) / (jnp.sum(_audible(deg, 1.0), -1) + GAIN_OFFSET)
    smooth = (1 - GAIN_MEMORY) * gain[:, 1:] + GAIN_MEMORY * gain[:, :-1]
    gain = jnp.concatenate([gain[:, :1], smooth], axis=1)
    deg = deg * jnp.clip(gain, *GAIN_LIMITS)[..., None]

    # Loudness differences outside a dead zone; additions weigh more than omissions.
    loud_ref, loud_deg = _loudness(ref), _loudness(deg)
    difference = loud_deg - loud_ref
    dead_zone = DEAD_ZONE * jnp.minimum(loud_deg, loud_ref)
    disturbance = jnp.sign(difference) * jnp.maximum(jnp.abs(difference) - dead_zone, 0.0)
    asymmetry = ((deg + ASYMMETRY_OFFSET) / (ref + ASYMMETRY_OFFSET)) ** ASYMMETRY_EXPONENT
    asymmetry = jnp.minimum(jnp.where(asymmetry < ASYMMETRY_LEAST, 0.0, asymmetry), ASYMMETRY_MOST)

    weight = ((total_ref + FRAME_OFFSET) / FRAME_SCALE) ** FRAME_EXPONENT
    norms = _norm(disturbance, SYMMETRIC_ORDER), _norm(disturbance * asymmetry, ASYMMETRIC_ORDER)
    symmetric, asymmetric = _over_time(jnp.minimum(jnp.stack(norms) / weight, DISTURBANCE_MOST))
    return SYMMETRIC_WEIGHT * symmetric + ASYMMETRIC_WEIGHT * asymmetric
