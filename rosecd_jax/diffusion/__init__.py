"""The papers' mathematics: processes, preconditioning, solvers, samplers; without networks and files."""

from rosecd_jax.diffusion import samplers, solvers
from rosecd_jax.diffusion.preconditioning import Preconditioning
from rosecd_jax.diffusion.sde import OUVE, SBVE

__all__ = ["OUVE", "SBVE", "Preconditioning", "samplers", "solvers"]
