"""Scale-invariant signal-to-distortion ratio as a loss (Le Roux et al. 2019), bounded on request."""

import jax
import jax.numpy as jnp
from jaxtyping import Float32

from rosecd_jax.arrays import Array

EPSILON = 1e-8
NO_LIMIT = 100.0
"""Upper bound in dB that is too high to matter in training."""


@jax.named_scope("si_sdr")
def neg_si_sdr(
    estimate: Float32[Array, "B samples"], reference: Float32[Array, "B samples"], limit: float = NO_LIMIT
) -> Float32[Array, " B"]:
    """Compute −SI-SDR in dB, with the waves' means removed (Le Roux et al. 2019, arXiv 1811.02508).

    −10 log₁₀(|α s|² / |ŝ − α s|²) with α = ⟨ŝ, s⟩ / |s|²; with a limit L the denominator
    is |ŝ − α s|² + 10^{−L/10} |α s|².

    Args:
      limit: dB, the bound that the ratio approaches as the error vanishes, so that good estimates don't have
        the largest gradients (a thresholded ratio, Wisdom et al. 2020).

    Returns:
      One value per item; finite for silence, too, because of EPSILON.
    """
    estimate = estimate - estimate.mean(-1, keepdims=True)
    reference = reference - reference.mean(-1, keepdims=True)
    energy = jnp.sum(reference**2, -1, keepdims=True) + EPSILON
    target = jnp.sum(estimate * reference, -1, keepdims=True) / energy * reference
    noise = estimate - target
    signal = jnp.sum(target**2, -1)
    ratio = signal / (jnp.sum(noise**2, -1) + 10 ** (-limit / 10) * signal + EPSILON)
    return -10 * jnp.log10(ratio + EPSILON)
