"""Scale-invariant signal-to-distortion ratio as a loss (Le Roux et al. 2019)."""

import jax
import jax.numpy as jnp

EPSILON = 1e-8


def neg_si_sdr(estimate: jax.Array, reference: jax.Array) -> jax.Array:
    """−SI-SDR in dB of mean-free waves.

    Args:
      estimate, reference: float32 [B, samples].

    Returns:
      float32 [B]; finite also for silence, by EPSILON in both ratios.
    """
    estimate = estimate - estimate.mean(-1, keepdims=True)
    reference = reference - reference.mean(-1, keepdims=True)
    energy = jnp.sum(reference**2, -1, keepdims=True) + EPSILON
    target = jnp.sum(estimate * reference, -1, keepdims=True) / energy * reference
    noise = estimate - target
    ratio = jnp.sum(target**2, -1) / (jnp.sum(noise**2, -1) + EPSILON)
    return -10 * jnp.log10(ratio + EPSILON)
