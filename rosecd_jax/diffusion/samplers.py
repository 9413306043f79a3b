"""Samplers: trajectories from noisy speech y to an estimate of x0, each in one `lax.scan`.

`noise(i)` returns the trajectory's i-th noise in the order of use, computed when it is needed, so that thirty
steps over a long recording don't hold sixty spectrograms of noise.
"""

import jax
import jax.numpy as jnp

from rosecd_jax.arrays import Spectrogram
from rosecd_jax.diffusion.noise import NoiseSource
from rosecd_jax.diffusion.sde import SBVE, SDE
from rosecd_jax.diffusion.solvers import (
    Corrector,
    ScoreFn,
    annealed_langevin,
    bridge_ode,
    bridge_sde,
    heun,
    reverse_diffusion,
)

DenoiseFn = ScoreFn
"""(x_t, y, t [B]) -> an estimate of x0."""


def predictor_corrector(
    score_fn: ScoreFn,
    sde: SDE,
    y: Spectrogram,
    noise: NoiseSource,
    steps: int = 30,
    snr: float = 0.5,
    corrector: Corrector = annealed_langevin,
) -> Spectrogram:
    """Sample by alternating a Langevin corrector and the reverse-diffusion predictor; the teachers' sampler.

    Uses 2 · steps network calls.

    Args:
      score_fn: (x_t, y, t [B]) -> score.
      y: noisy spectrogram.
      noise: draws 0 (prior), then 2i + 1 (corrector) and 2i + 2 (predictor) of step i.
      steps: N of the time grid linspace(1, t_eps, N); the last predictor step is of size t_eps.
      snr: signal-to-noise ratio that determines the corrector's step size.
      corrector: such as `annealed_langevin` or `langevin`, see `solvers`. Without one, use `predictor_only`.

    Returns:
      The mean of the last predictor step.
    """
    times = sde.timesteps(steps)
    dts = jnp.diff(times, append=0.0)

    def step(state, inputs):
        i, time, dt = inputs
        t = jnp.full(y.shape[0], time)
        x, _ = corrector(score_fn, sde, state[0], y, t, snr, noise(2 * i + 1))
        return reverse_diffusion(score_fn, sde, x, y, t, dt, noise(2 * i + 2)), None

    x_T = sde.prior(y, noise(0))
    (_, x_mean), _ = jax.lax.scan(step, (x_T, x_T), (jnp.arange(steps), times, dts))
    return x_mean


def predictor_only(
    score_fn: ScoreFn, sde: SDE, y: Spectrogram, noise: NoiseSource, steps: int = 30
) -> Spectrogram:
    """Sample by reverse diffusion without a corrector: `steps` network calls; draws 0 (prior), then i + 1."""
    times = sde.timesteps(steps)
    dts = jnp.diff(times, append=0.0)

    def step(state, inputs):
        i, time, dt = inputs
        t = jnp.full(y.shape[0], time)
        return reverse_diffusion(score_fn, sde, state[0], y, t, dt, noise(i + 1)), None

    x_T = sde.prior(y, noise(0))
    (_, x_mean), _ = jax.lax.scan(step, (x_T, x_T), (jnp.arange(steps), times, dts))
    return x_mean


def probability_flow(
    score_fn: ScoreFn,
    sde: SDE,
    y: Spectrogram,
    noise: NoiseSource,
    steps: int = 30,
    final_step: bool = True,
) -> Spectrogram:
    """Integrate the probability-flow ODE from x_T to t_eps in `steps` equal steps of Heun's method.

    Uses 2 · steps network calls. The authors use an adaptive Runge-Kutta method, whose cost depends on the
    recording.

    Args:
      noise: only draw 0 (prior) is used.
      final_step: add one predictor step of size t_eps, without noise, from t_eps to clean speech, with one
        more network call. The authors intend this, but their call lacks the step size and raises.
    """
    times = sde.timesteps(steps + 1)

    def step(x, inputs):
        time, dt = inputs
        return heun(score_fn, sde, x, y, jnp.full(y.shape[0], time), dt, jnp.zeros_like(x))[1], None

    x, _ = jax.lax.scan(step, sde.prior(y, noise(0)), (times[:-1], jnp.diff(times)))
    if not final_step:
        return x
    t = jnp.full(y.shape[0], sde.t_eps)
    return reverse_diffusion(score_fn, sde, x, y, t, -t, jnp.zeros_like(x))[1]


def bridge_probability_flow(denoise_fn: DenoiseFn, sde: SBVE, y: Spectrogram, steps: int = 50) -> Spectrogram:
    """Integrate the Schrödinger bridge's ODE from y to t_eps, to first order: `steps` network calls."""
    times = sde.timesteps(steps + 1)

    def step(x, inputs):
        t, t_next = (jnp.full(y.shape[0], time) for time in inputs)
        return bridge_ode(denoise_fn, sde, x, y, t, t_next, jnp.zeros_like(x))[1], None

    return jax.lax.scan(step, y, (times[:-1], times[1:]))[0]


def bridge_diffusion(
    denoise_fn: DenoiseFn, sde: SBVE, y: Spectrogram, noise: NoiseSource, steps: int = 50
) -> Spectrogram:
    """Integrate the Schrödinger bridge's SDE from y to t_eps, to first order: `steps` network calls.

    Draw i is the noise of step i; the last step adds no noise.
    """
    times = sde.timesteps(steps + 1)

    def step(state, inputs):
        i, *times = inputs
        t, t_next = (jnp.full(y.shape[0], time) for time in times)
        return bridge_sde(denoise_fn, sde, state[0], y, t, t_next, noise(i)), None

    return jax.lax.scan(step, (y, y), (jnp.arange(steps), times[:-1], times[1:]))[0][1]


def consistency(
    denoise_fn: DenoiseFn, sde: SDE, y: Spectrogram, noise: NoiseSource, steps: int = 1, snr: float = 0.5
) -> Spectrogram:
    """Sample with one network call, or `steps` with new noise in between; the students' sampler.

    x̂ = D(y + σ_1 z, y, 1); then for the remaining τ of linspace(1, t_eps, steps):
    x̂ ← D(x̂ + 2 snr σ_τ z, y, τ). A bridge's student starts at y, without noise. One step is the inference of
    arXiv 2507.05688; several are the multistep sampling of consistency models (Song et al. 2023, arXiv
    2303.01469) with the noise that the teacher's corrector adds at τ.

    `y` and `noise` are as for `predictor_corrector`; noise draws are 0, 1, …, steps − 1. The result is the
    last estimate x̂.
    """
    batch = y.shape[0]
    x = denoise_fn(sde.prior(y, noise(0)), y, jnp.full(batch, sde.end_time))
    if steps == 1:
        return x

    def step(x, inputs):
        i, tau = inputs
        return denoise_fn(x + 2 * snr * sde.std(tau) * noise(i), y, jnp.full(batch, tau)), None

    return jax.lax.scan(step, x, (jnp.arange(1, steps), sde.timesteps(steps)[1:]))[0]
