"""Solvers of the reverse process: one step each, with the noise as an argument.

Every solver is (score_fn, sde, x, y, t, [dt | snr], z) -> (x, x_mean): `score_fn(x, y, t)` is the score
(a bridge's solver takes the denoiser instead), z is circular unit-variance noise, and x_mean is the step
before its noise is added. `dt` is t_next − t, negative towards clean speech; a bridge's solver takes t_next
itself, because near 1e-4 the sum t + dt loses digits that matter to the network's embedding of log t.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Float32

from rosecd_jax.arrays import Array, State, Times
from rosecd_jax.diffusion.sde import SBVE, SDE, per_item

ScoreFn = Callable[[State, State, Times], State]
Step = tuple[State, State]
"""(x, x_mean) after a step."""
Corrector = Callable[..., Step]
"""`annealed_langevin`, `langevin` or `langevin_per_item`."""


def annealed_langevin(
    score_fn: ScoreFn, sde: SDE, x: State, y: State, t: Times, snr: float, z: State
) -> Step:
    """Corrector: annealed Langevin dynamics with step e = 2 (snr σ_t)² (arXiv 2208.05830, alg. 1)."""
    step = per_item(2 * (snr * sde.std(t)) ** 2, x)
    x_mean = x + step * score_fn(x, y, t)
    return x_mean + jnp.sqrt(2 * step) * z, x_mean


def langevin(score_fn: ScoreFn, sde: SDE, x: State, y: State, t: Times, snr: float, z: State) -> Step:
    """Corrector: Langevin dynamics with step e = 2 (snr ‖z‖ / ‖s‖)² (Song et al. 2021, alg. 4).

    Both norms are means over the batch, so that all items of a batch have the same step.
    """
    del sde
    score = score_fn(x, y, t)
    return _langevin(x, score, z, 2 * (snr * _norms(z).mean() / _norms(score).mean()) ** 2)


def langevin_per_item(
    score_fn: ScoreFn, sde: SDE, x: State, y: State, t: Times, snr: float, z: State
) -> Step:
    """Corrector: `langevin` with a step per item, so that results don't depend on the batch."""
    del sde
    score = score_fn(x, y, t)
    return _langevin(x, score, z, per_item(2 * (snr * _norms(z) / _norms(score)) ** 2, x))


def _norms(x: State) -> Float32[Array, " B"]:
    """Compute each item's norm."""
    return jnp.linalg.norm(x.reshape(x.shape[0], -1), axis=-1)


def _langevin(x: State, score: State, z: State, step: Float32[Array, "..."]) -> Step:
    x_mean = x + step * score
    return x_mean + jnp.sqrt(2 * step) * z, x_mean


def reverse_diffusion(score_fn: ScoreFn, sde: SDE, x: State, y: State, t: Times, dt: Times, z: State) -> Step:
    """Predictor: reversed forward step, x_mean = x + f dt − g² s dt (Song et al. 2021, app. E)."""
    g = per_item(sde.diffusion(t) * jnp.sqrt(-dt), x)
    x_mean = x + sde.drift(x, y, t) * per_item(dt, x) + g**2 * score_fn(x, y, t)
    return x_mean + g * z, x_mean


def probability_flow_drift(score_fn: ScoreFn, sde: SDE, x: State, y: State, t: Times) -> State:
    """f − ½ g² s: the right-hand side of the probability-flow ODE (Song et al. 2021, eq. 13)."""
    return sde.drift(x, y, t) - 0.5 * per_item(sde.diffusion(t) ** 2, x) * score_fn(x, y, t)


def euler(score_fn: ScoreFn, sde: SDE, x: State, y: State, t: Times, dt: Times, z: State) -> Step:
    """Euler's step of the probability-flow ODE; x is x_mean + g √(−dt) z."""
    x_mean = x + probability_flow_drift(score_fn, sde, x, y, t) * per_item(dt, x)
    return x_mean + per_item(sde.diffusion(t) * jnp.sqrt(-dt), x) * z, x_mean


def heun(score_fn: ScoreFn, sde: SDE, x: State, y: State, t: Times, dt: Times, z: State) -> Step:
    """Heun's step of the probability-flow ODE, with two network calls; x is x_mean + g √(−dt) z."""
    first = probability_flow_drift(score_fn, sde, x, y, t)
    second = probability_flow_drift(score_fn, sde, x + first * per_item(dt, x), y, t + dt)
    x_mean = x + 0.5 * (first + second) * per_item(dt, x)
    return x_mean + per_item(sde.diffusion(t) * jnp.sqrt(-dt), x) * z, x_mean


def mix(score_fn: ScoreFn, sde: SDE, x: State, y: State, t: Times, dt: Times, z: State) -> Step:
    """Mean of Euler's step of the ODE and the Euler-Maruyama step of the reverse SDE, f − g² s.

    One network call: the mean drift is f − ¾ g² s, and half of the noise g √(−dt) z remains.
    """
    g = sde.diffusion(t)
    drift = sde.drift(x, y, t) - 0.75 * per_item(g**2, x) * score_fn(x, y, t)
    x_mean = x + drift * per_item(dt, x)
    return x_mean + 0.5 * per_item(g * jnp.sqrt(-dt), x) * z, x_mean


def bridge_ode(denoise_fn: ScoreFn, sde: SBVE, x: State, y: State, t: Times, t_next: Times, z: State) -> Step:
    """First-order step of the bridge's ODE (arXiv 2407.16074), without noise: x is x_mean.

    With P = σ' σ̄' of the next time, the weights are P / (σ σ̄ + ε) for x,
    (σ̄'² − σ̄ P / (σ + ε)) / (σ_T² + ε) for the estimate and (σ'² − σ P / (σ̄ + ε)) / (σ_T² + ε) for y.
    As in the authors' samplers, the network is evaluated at the next time, and ε is in each denominator: at
    t = 1, where σ̄² = ε, it adds a few percent of y to the first step.
    """
    del z
    (sigma, bar, total), after, eps = sde.sigmas(t), sde.sigmas(t_next), sde.eps
    product, variance = after.forward * after.backward, total**2 + eps
    of_x = product / (sigma * bar + eps)
    of_estimate = (after.backward**2 - bar * product / (sigma + eps)) / variance
    # At t = 1 the weights of x and y are in the thousands and cancel, so their sum is computed first.
    excess = (bar**3 + eps * (total**2 - sigma + eps)) / ((sigma * bar + eps) * (bar + eps) * variance)
    of_both = product * excess + after.forward**2 / variance
    estimate = denoise_fn(x, y, t_next)
    x = per_item(of_x, x) * (x - y) + per_item(of_estimate, x) * estimate + per_item(of_both, x) * y
    return x, x


def bridge_sde(denoise_fn: ScoreFn, sde: SBVE, x: State, y: State, t: Times, t_next: Times, z: State) -> Step:
    """First-order step of the bridge's SDE (arXiv 2407.16074).

    x_mean = κ x + (1 − κ) estimate, with κ = σ'² / (σ² + ε) and σ' of the next time; x adds the noise
    σ' √(1 − κ) z. The network's time is as in `bridge_ode`.
    """
    before, after = sde.sigmas(t).forward, sde.sigmas(t_next).forward
    kept = after**2 / (before**2 + sde.eps)
    estimate = denoise_fn(x, y, t_next)
    x_mean = per_item(kept, x) * x + per_item(1 - kept, x) * estimate
    return x_mean + per_item(after * jnp.sqrt(1 - kept), x) * z, x_mean
