"""The differentiable P.862 distance (PESQ without time alignment), after the definition of PyPI's torch-pesq.

Both filters of the standard are linear and stable, so their impulse responses, cut where they have died away,
filter by a product in the frequency domain: parallel, and exact to float32.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.signal

from rosecd_jax.audio.stft import hann_window
from rosecd_jax.losses import bark

SAMPLE_RATE = 16_000
WINDOW, HOP = 512, 256
TAPS = 2048
"""Length of the impulse responses; both have fallen below 1e-25 of their peak by then."""
LEAST_SAMPLES = 5248
"""The shortest waves of 20 frames, with the padding of `_prepare`."""

_TINY = 1e-20


@functools.cache
def _impulse_responses() -> tuple[np.ndarray, np.ndarray]:
    """(the 325-3250 Hz band-pass that measures level, the pre-emphasis), float64 [TAPS]."""
    # Rounded to float32 as in torch-pesq: in this direct form that moves the band's edges a little.
    band_pass = scipy.signal.butter(5, [325, 3250], fs=SAMPLE_RATE, btype="band")
    emphasis = [2.740826, -5.4816519, 2.740826], [1.0, -1.9444777, 0.94597794]
    filters = (np.array(f, np.float32).astype(np.float64) for f in (band_pass, emphasis))
    by_band, by_emphasis = (np.asarray(scipy.signal.lfilter(b, a, np.eye(1, TAPS)[0])) for b, a in filters)
    return by_band, by_emphasis


def _filter(wave: jax.Array, response: np.ndarray) -> jax.Array:
    """Causal convolution of [B, samples] with `response`, cut to the input's length."""
    samples = wave.shape[-1]
    response = response[:samples]
    size = scipy.fft.next_fast_len(samples + len(response) - 1, real=True)
    spectrum = np.fft.rfft(response, size).astype(np.complex64)
    return jnp.fft.irfft(jnp.fft.rfft(wave, size) * spectrum, size)[..., :samples]


def _prepare(wave: jax.Array) -> jax.Array:
    """Set the level, fade the ends, emphasise: float32 [B, samples] -> Bark powers [B, frames, 49]."""
    band_pass, emphasis = _impulse_responses()
    samples = wave.shape[-1]
    # 5120 and 1.04684 are the reference implementation's corrections of the mean power.
    power = jnp.sum(_filter(wave, band_pass) ** 2, -1, keepdims=True) / (samples + 5120) / 1.04684
    audible = power > _TINY
    wave = wave * jnp.where(audible, jnp.sqrt(1e7 / jnp.where(audible, power, 1.0)), 0.0)
    fade = np.minimum(1.0, np.arange(1, samples + 1) / 16) * np.minimum(1.0, np.arange(samples, 0, -1) / 16)
    wave = _filter(wave * fade.astype(np.float32), emphasis)
    # Padded by what is over a multiple of HOP, not by what is lacking: so does the reference implementation.
    wave = jnp.pad(wave, [(0, 0), (0, samples % HOP)])
    frames = (wave.shape[-1] - WINDOW) // HOP + 1
    blocks = wave[:, : (frames + 1) * HOP].reshape(-1, frames + 1, HOP)
    framed = jnp.concatenate([blocks[:, :-1], blocks[:, 1:]], axis=-1) * hann_window(WINDOW)
    spectrum = jnp.fft.rfft(framed)[..., :-1]
    energy = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    energy = energy.at[..., 0].set(0.0)
    return (energy @ bark.BAND_MATRIX) * bark.POWER_CORRECTION.astype(np.float32)


def _audible(powers: jax.Array, factor: float) -> jax.Array:
    """Band powers, those under `factor` hearing thresholds zeroed."""
    return jnp.where(powers > bark.HEARING_THRESHOLD * factor, powers, 0.0)


def _loudness(powers: jax.Array) -> jax.Array:
    """Zwicker loudness of each band, zero below the threshold of hearing."""
    threshold = bark.HEARING_THRESHOLD
    exponent = (np.clip(6 / (bark.CENTRE + 2), 1.0, 2.0) ** 0.15 * 0.23).astype(np.float32)
    scale = ((2 * threshold) ** exponent * bark.LOUDNESS_SCALE).astype(np.float32)
    loud = scale * ((0.5 + 0.5 * powers / threshold.astype(np.float32)) ** exponent - 1)
    return jnp.where(powers > threshold, loud, 0.0)


def _norm(disturbance: jax.Array, order: int) -> jax.Array:
    """Norm over bands, each weighted by its width; at least _TINY, with no gradient there: [B, frames]."""
    total = bark.WIDTH[1:].sum()
    weighted = (disturbance * (bark.WIDTH / total ** (1 / order)).astype(np.float32))[..., 1:]
    if order == 1:
        return jnp.maximum(total * jnp.sum(jnp.abs(weighted), -1), _TINY)
    square = jnp.sum(weighted**2, -1)
    heard = square > 0
    return jnp.where(heard, total * jnp.sqrt(jnp.where(heard, square, 1.0)), _TINY)


def _over_time(disturbance: jax.Array) -> jax.Array:
    """L6 norm over windows of 20 frames that overlap by half, then the root mean square over them: [B]."""
    windows = (disturbance.shape[-1] - 20) // 10 + 1
    index = 10 * np.arange(windows)[:, None] + np.arange(20)
    # Scaled by the largest: a sixth power leaves float32 soon on both sides.
    peak = jax.lax.stop_gradient(jnp.max(disturbance, -1, keepdims=True))
    sixth = jnp.mean((disturbance / peak)[:, index] ** 6, -1)
    audible = sixth > 0
    split_second = jnp.where(audible, jnp.where(audible, sixth, 1.0) ** (1 / 6), 0.0)
    return peak[:, 0] * jnp.sqrt(jnp.mean(split_second**2, -1))


def pesq_loss(reference: jax.Array, degraded: jax.Array) -> jax.Array:
    """0.1 D_sym + 0.0309 D_asym of ITU-T P.862: lower is better, 0 for equal waves.

    Differentiable in both; finite for silence.

    Args:
      reference, degraded: float32 [B, samples] at 16 kHz, at least LEAST_SAMPLES.

    Returns:
      float32 [B].

    Raises:
      ValueError: if the waves are shorter than that.
    """
    samples = reference.shape[-1]
    if samples < LEAST_SAMPLES:
        raise ValueError(f"the PESQ loss needs at least {LEAST_SAMPLES} samples, these waves have {samples}")
    peak = jnp.maximum(
        jnp.max(jnp.abs(reference), -1, keepdims=True), jnp.max(jnp.abs(degraded), -1, keepdims=True)
    )
    peak = jnp.where(peak > 0, peak, 1.0)
    ref, deg = _prepare(reference / peak), _prepare(degraded / peak)

    # Equalise the reference to the mean spectrum of the degraded signal, over frames that hold speech.
    speech = jnp.sum(_audible(ref, 100.0), -1) >= 1e7
    mean_ref, mean_deg = (jnp.mean(_audible(p, 100.0) * speech[..., None], axis=1) for p in (ref, deg))
    ref = ref * jnp.clip((mean_deg + 1000) / (mean_ref + 1000), 0.01, 100.0)[:, None]

    # Equalise the degraded signal to the level of the reference, frame by frame, lightly smoothed.
    total_ref = jnp.sum(_audible(ref, 1.0), -1)
    gain = (total_ref + 5e3) / (jnp.sum(_audible(deg, 1.0), -1) + 5e3)
    gain = jnp.concatenate([gain[:, :1], 0.8 * gain[:, 1:] + 0.2 * gain[:, :-1]], axis=1)
    deg = deg * jnp.clip(gain, 3e-4, 5.0)[..., None]

    # Loudness differences outside a dead zone; what was added weighs more than what was lost.
    loud_ref, loud_deg = _loudness(ref), _loudness(deg)
    difference = loud_deg - loud_ref
    dead_zone = 0.25 * jnp.minimum(loud_deg, loud_ref)
    disturbance = jnp.sign(difference) * jnp.maximum(jnp.abs(difference) - dead_zone, 0.0)
    asymmetry = ((deg + 50) / (ref + 50)) ** 1.2
    asymmetry = jnp.minimum(jnp.where(asymmetry < 3, 0.0, asymmetry), 12.0)

    weight = ((total_ref + 1e5) / 1e7) ** 0.04
    symmetric, asymmetric = (
        _over_time(jnp.minimum(_norm(d, order) / weight, 45.0))
        for d, order in ((disturbance, 2), (disturbance * asymmetry, 1))
    )
    return 0.1 * symmetric + 0.0309 * asymmetric
