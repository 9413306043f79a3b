"""Forward processes from clean speech x0 to noisy speech y.

Time runs from `end_time` (noisy) down to `t_eps` (clean).
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Float32

from rosecd_jax.arrays import Array, State, Times
from rosecd_jax.config import check_fields


def per_item(t: Times, x: State) -> Array:
    """Append axes to t so that it broadcasts against a state x."""
    t = jnp.asarray(t)
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim)) if t.ndim else t


def _check(sde: "SDE", **above: float) -> None:
    """Raise ValueError if a field is not above its bound, or times or steps are invalid."""
    check_fields(sde, "sde.", least={"steps": 1}, above=above | {"t_eps": 0})
    if sde.t_eps >= sde.end_time:
        raise ValueError(f"sde.t_eps is {sde.t_eps}, it has to be above 0 and below {sde.end_time:g}")


@dataclasses.dataclass(frozen=True)
class OUVE:
    """Ornstein-Uhlenbeck process with variance explosion (Richter et al., arXiv 2208.05830, eq. 11-15).

    dx = γ(y − x) dt + g(t) dw, with g(t) = σ_min r^t √(2 ln r) and r = σ_max / σ_min.

    Attributes:
      gamma: stiffness γ of the pull towards y.
      sigma_min, sigma_max: bounds of the noise schedule.
      t_eps: the smallest time used.
      steps: default number of steps of a trajectory.
      kind: identifies the process in stored configs.
    """

    gamma: float = 1.5
    sigma_min: float = 0.05
    sigma_max: float = 0.5
    t_eps: float = 0.03
    steps: int = 30
    kind: Literal["ouve"] = "ouve"

    end_time = 1.0

    def __post_init__(self) -> None:
        _check(self, gamma=0, sigma_min=0, sigma_max=0)
        if self.sigma_max <= self.sigma_min:
            raise ValueError(
                f"sde.sigma_max is {self.sigma_max}, it has to be above sde.sigma_min, {self.sigma_min}"
            )

    @property
    def log_ratio(self) -> float:
        """ln r."""
        return math.log(self.sigma_max / self.sigma_min)

    def mean(self, x0: State, y: State, t: Times) -> State:
        """Compute the mean of x_t, μ_t = e^{−γt} x0 + (1 − e^{−γt}) y."""
        decay = per_item(jnp.exp(-self.gamma * t), x0)
        return decay * x0 + (1 - decay) * y

    def std(self, t: Times) -> Times:
        """Compute the standard deviation of x_t, σ_t = σ_min √((r^{2t} − e^{−2γt}) ln r / (γ + ln r))."""
        log_r = self.log_ratio
        # expm1 keeps the digits of the difference for small t.
        difference = jnp.exp(-2 * self.gamma * t) * jnp.expm1(2 * (self.gamma + log_r) * t)
        return self.sigma_min * jnp.sqrt(difference * log_r / (self.gamma + log_r))

    def drift(self, x: State, y: State, t: Times) -> State:
        """Compute the drift γ(y − x); t is unused."""
        del t
        return self.gamma * (y - x)

    def diffusion(self, t: Times) -> Times:
        """Compute the diffusion coefficient g(t) = σ_min r^t √(2 ln r)."""
        log_r = self.log_ratio
        return self.sigma_min * jnp.exp(log_r * t) * math.sqrt(2 * log_r)

    def timesteps(self, steps: int | None = None) -> Float32[Array, " steps"]:
        """Return the time grid: linspace from `end_time` down to `t_eps`."""
        return jnp.linspace(self.end_time, self.t_eps, steps or self.steps)

    def prior(self, y: State, z: State) -> State:
        """Return the start of a trajectory, x_T = y + σ_1 z."""
        return y + self.std(jnp.float32(self.end_time)) * z


class BridgeSigmas(NamedTuple):
    """Noise schedule of a bridge at t: σ_t from clean speech, σ̄_t to noisy speech, and the total σ_T."""

    forward: Times
    backward: Times
    total: float


@dataclasses.dataclass(frozen=True)
class SBVE:
    """Schrödinger bridge with variance explosion (Jukić et al., arXiv 2407.16074, table 1 and eq. 9-11).

    dx = g(t) dw, with g(t) = √c k^t, pinned to x0 at t = 0 and to the noisy speech y itself at t = 1.

    Attributes:
      k, c: base and scale of the diffusion coefficient.
      eps: keeps σ̄_t above zero, and so the samplers' weights finite, at the ends.
      t_eps: the smallest time used.
      steps: default number of steps of a trajectory.
      kind: identifies the process in stored configs.
    """

    k: float = 2.6
    c: float = 0.4
    eps: float = 1e-8
    t_eps: float = 1e-4
    steps: int = 50
    kind: Literal["sbve"] = "sbve"

    end_time = 1.0

    def __post_init__(self) -> None:
        _check(self, k=1, c=0, eps=0)

    def sigmas(self, t: Times) -> BridgeSigmas:
        """Compute σ_t, σ̄_t and σ_T: σ_t² = c (k^{2t} − 1) / (2 ln k), σ̄_t² = σ_T² − σ_t² + ε; α_t is 1.

        See arXiv 2407.16074, table 1 and below eq. 9.
        """
        log_k = math.log(self.k)
        scale = self.c / (2 * log_k)
        forward = scale * jnp.expm1(2 * log_k * t)
        # The difference of the squares as one expm1 is exact also near t = 1, where ε dominates.
        backward = scale * jnp.exp(2 * log_k * t) * jnp.expm1(2 * log_k * (self.end_time - t)) + self.eps
        total = math.sqrt(scale * math.expm1(2 * log_k * self.end_time))
        return BridgeSigmas(jnp.sqrt(forward), jnp.sqrt(backward), total)

    def mean(self, x0: State, y: State, t: Times) -> State:
        """Compute the mean of x_t, μ_t = (σ̄_t² x0 + σ_t² y) / σ_T² (arXiv 2407.16074, eq. 11)."""
        forward, backward, total = self.sigmas(t)
        return per_item(backward**2 / total**2, x0) * x0 + per_item(forward**2 / total**2, x0) * y

    def std(self, t: Times) -> Times:
        """Compute the standard deviation of x_t, σ̄_t σ_t / σ_T."""
        forward, backward, total = self.sigmas(t)
        return forward * backward / total

    def drift(self, x: State, y: State, t: Times) -> State:
        """Return 0: the unconditioned process has no drift."""
        del y, t
        return jnp.zeros_like(x)

    def diffusion(self, t: Times) -> Times:
        """Compute the diffusion coefficient g(t) = √c k^t."""
        return math.sqrt(self.c) * jnp.exp(math.log(self.k) * t)

    def timesteps(self, steps: int | None = None) -> Float32[Array, " steps"]:
        """Return the time grid: linspace from `end_time` down to `t_eps`."""
        return jnp.linspace(self.end_time, self.t_eps, steps or self.steps)

    def prior(self, y: State, z: State) -> State:
        """Return the start of a trajectory, y; z is unused."""
        del z
        return y


SDE = OUVE | SBVE
"""Either process; the field `kind` of a config distinguishes them."""
