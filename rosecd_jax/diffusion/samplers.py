"""Whole trajectories from noisy speech y to an estimate of x0, each one `lax.scan`.

`noise(i)` is the i-th noise of the trajectory in the order in which it is used: noise as data, made when
it is needed, so that thirty steps over a long recording don't hold sixty spectrograms of noise.
"""

import jax
import jax.numpy as jnp

from rosecd_jax.diffusion.noise import NoiseSource
from rosecd_jax.diffusion.sde import OUVE
from rosecd_jax.diffusion.solvers import ScoreFn, annealed_langevin, reverse_diffusion

DenoiseFn = ScoreFn
"""(x_t, y, t [B]) -> an estimate of x0, complex64 of x_t's shape."""


def predictor_corrector(
    score_fn: ScoreFn, sde: OUVE, y: jax.Array, noise: NoiseSource, steps: int = 30, snr: float = 0.5
) -> jax.Array:
    """The teacher's sampler: annealed Langevin corrector and reverse diffusion predictor in turn.

    2 · steps network calls.

    Args:
      score_fn: (x_t, y, t [B]) -> score.
      y: noisy spectrogram, complex64 [B, F, T].
      noise: draws 0 (prior), then 2i + 1 (corrector) and 2i + 2 (predictor) of step i.
      steps: N of the time grid linspace(1, t_eps, N); the last predictor step is of size t_eps.
      snr: of the corrector.

    Returns:
      The mean of the last predictor step, complex64 [B, F, T].
    """
    times = sde.timesteps(steps)
    dts = jnp.diff(times, append=0.0)

    def step(state, inputs):
        i, time, dt = inputs
        t = jnp.full(y.shape[0], time)
        x, _ = annealed_langevin(score_fn, sde, state[0], y, t, snr, noise(2 * i + 1))
        return reverse_diffusion(score_fn, sde, x, y, t, dt, noise(2 * i + 2)), None

    x_T = sde.prior(y, noise(0))
    (_, x_mean), _ = jax.lax.scan(step, (x_T, x_T), (jnp.arange(steps), times, dts))
    return x_mean


def predictor_only(
    score_fn: ScoreFn, sde: OUVE, y: jax.Array, noise: NoiseSource, steps: int = 30
) -> jax.Array:
    """Reverse diffusion without a corrector: `steps` network calls; noise draws 0 (prior), then i + 1."""
    times = sde.timesteps(steps)
    dts = jnp.diff(times, append=0.0)

    def step(state, inputs):
        i, time, dt = inputs
        t = jnp.full(y.shape[0], time)
        return reverse_diffusion(score_fn, sde, state[0], y, t, dt, noise(i + 1)), None

    x_T = sde.prior(y, noise(0))
    (_, x_mean), _ = jax.lax.scan(step, (x_T, x_T), (jnp.arange(steps), times, dts))
    return x_mean


def consistency(
    denoise_fn: DenoiseFn, sde: OUVE, y: jax.Array, noise: NoiseSource, steps: int = 1, snr: float = 0.5
) -> jax.Array:
    """The student's sampler: one network call, or `steps` of them with fresh noise in between.

    x̂ = D(y + σ_1 z, y, 1); then for the remaining τ of linspace(1, t_eps, steps):
    x̂ ← D(x̂ + 2 snr σ_τ z, y, τ).

    Args and result as `predictor_corrector`; noise draws 0, 1, …, steps − 1.
    """
    batch = y.shape[0]
    x = denoise_fn(sde.prior(y, noise(0)), y, jnp.full(batch, sde.end_time))
    if steps == 1:
        return x

    def step(x, inputs):
        i, tau = inputs
        return denoise_fn(x + 2 * snr * sde.std(tau) * noise(i), y, jnp.full(batch, tau)), None

    return jax.lax.scan(step, x, (jnp.arange(1, steps), sde.timesteps(steps)[1:]))[0]
