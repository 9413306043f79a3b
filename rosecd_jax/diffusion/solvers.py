"""ONE step of each solver of the reverse process, its noise passed in.

Every solver is (score_fn, sde, x, y, t, [dt | snr], z) -> (x, x_mean): `score_fn(x, y, t)` is the score,
x and y are complex64 [B, ...], t is float32 [B] or scalar, z is circular unit-variance noise of x's shape,
and x_mean is the step before its noise is added. `dt` is t_next − t, negative on the way to clean speech.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rosecd_jax.diffusion.sde import OUVE, per_item

ScoreFn = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def annealed_langevin(
    score_fn: ScoreFn, sde: OUVE, x: jax.Array, y: jax.Array, t: jax.Array, snr: float, z: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Corrector: annealed Langevin dynamics with step e = 2 (snr σ_t)² (arXiv 2208.05830, alg. 1)."""
    step = per_item(2 * (snr * sde.std(t)) ** 2, x)
    x_mean = x + step * score_fn(x, y, t)
    return x_mean + jnp.sqrt(2 * step) * z, x_mean


def reverse_diffusion(
    score_fn: ScoreFn, sde: OUVE, x: jax.Array, y: jax.Array, t: jax.Array, dt: jax.Array, z: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Predictor: the forward step reversed, x_mean = x + f dt − g² s dt (Song et al. 2021, app. E)."""
    g = per_item(sde.diffusion(t) * jnp.sqrt(-dt), x)
    x_mean = x + sde.drift(x, y, t) * per_item(dt, x) + g**2 * score_fn(x, y, t)
    return x_mean + g * z, x_mean
