"""Everything that can be compared with numbers computed by the authors' code, in one table: `rosecd verify`.

Agreement is asked for in float32 on a CPU, relative to an array's largest magnitude: 1e-5 for closed forms,
1e-4 for networks, samplers and losses (5e-4 for the bridge's ODE, see `BRIDGE_ODE`), 1e-3 for gradients.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate

from rosecd_jax.audio.stft import FrontEnd, compress, expand, hann_window, stft
from rosecd_jax.conversion import load_torch_checkpoint
from rosecd_jax.diffusion import OUVE, SBVE, Preconditioning, preconditioning, samplers, solvers
from rosecd_jax.evaluation import verify_losses
from rosecd_jax.evaluation.comparison import (
    BRIDGE,
    BRIDGE_ODE,
    CLOSED_FORM,
    NETWORK,
    STUDENT,
    TEACHER,
    Arrays,
    Comparison,
    Program,
    compare,
    compile_model,
    their_params,
)
from rosecd_jax.models.ncsnpp import NCSNPP, NCSNPP_48K
from rosecd_jax.models.score_model import ModelConfig, Params, ScoreModel


def verify(goldens: str | os.PathLike) -> Iterator[Comparison]:
    """Compare everything; a row comes as soon as it is computed, all of them take some minutes.

    Args:
      goldens: the folder of the authors' numbers.

    Raises:
      ValueError: if a file of it is missing.
    """
    folder = Path(goldens)

    def load(name: str) -> Arrays:
        path = folder / f"{name}.npz"
        if not path.is_file():
            raise ValueError(f"{path}: no such file; a folder of the authors' numbers is needed")
        with np.load(path) as file:
            return {key: jnp.asarray(file[key]) for key in file}

    networks = load("network")
    params = {name: their_params(networks, f"{name}/") for name in ("teacher", "student", "target", "sb")}
    teacher = compile_model(TEACHER, "raw", "denoise", "score")
    student = compile_model(STUDENT, "denoise", "score")
    bridge = compile_model(BRIDGE, "denoise")
    yield from front_end(load("frontend"))
    yield from processes(load("sde"))
    yield from small_networks(networks, params, teacher, student, bridge)
    yield from sgmse_plus(folder, load)
    yield from trajectories(load("samplers"), params, teacher, student, bridge)
    yield from checkpoints(folder, networks, load("checkpoint_outputs"), teacher, student)
    yield from verify_losses.optimiser(load("optimiser"))
    yield from verify_losses.time_domain(load("losses"))
    yield from verify_losses.distillation(load("distillation"), params, teacher, student)
    yield from verify_losses.gradients(load, params)
    yield from adaptive_ode(load("samplers"), params["teacher"], teacher)


def front_end(golden: Arrays) -> Iterator[Comparison]:
    """STFT and compression at 16 kHz."""
    yield compare("front end: window", hann_window(510), golden["window"], CLOSED_FORM)
    yield compare("front end: STFT", stft(golden["noisy"]), golden["stft_noisy"], CLOSED_FORM)
    compressed = compress(golden["stft_noisy"])
    yield compare("front end: compression", compressed, golden["spec_noisy"], CLOSED_FORM)
    yield compare("front end: expansion", expand(golden["spec_noisy"]), golden["back"], CLOSED_FORM)
    wave = FrontEnd().synthesise(golden["spec_noisy"], golden["wav"].shape[-1])
    yield compare("front end: wave", wave, golden["wav"], CLOSED_FORM)


def processes(golden: Arrays) -> Iterator[Comparison]:
    """Both processes and the EDM scalings."""
    t, x, y, sigma = (golden[name] for name in ("t", "x", "y", "ouve_std"))
    ouve, sbve, edm = OUVE(), SBVE(), Preconditioning()
    sigmas = sbve.sigmas(t)
    ours = {
        "t": ouve.timesteps(),
        "ouve_std": ouve.std(t),
        "ouve_diffusion": ouve.diffusion(t),
        "ouve_mean_t7": ouve.mean(x, y, t[7]),
        "ouve_drift_t7": ouve.drift(x, y, t[7]),
        "sbve_std": sbve.std(t),
        "sbve_mean_t7": sbve.mean(x, y, t[7]),
        "sbve_sigma_t": sigmas.forward,
        "sbve_sigma_bar": sigmas.backward,
        "sbve_sigma_T": np.float32(sigmas.total),
        "c_in_edm": preconditioning.c_in(edm, sigma),
        "c_out_edm": preconditioning.c_out(edm, sigma),
        "c_skip_edm": preconditioning.c_skip(edm, sigma),
    }
    for name, value in ours.items():
        yield compare(f"process: {name}", value, golden[name], CLOSED_FORM)


def small_networks(
    golden: Arrays, params: Mapping[str, Params], teacher: Program, student: Program, bridge: Program
) -> Iterator[Comparison]:
    """NCSN++ v2, bare and as the teacher, the student and the bridge use it."""
    state = golden["x_t"][:, 0], golden["y"][:, 0], golden["t"]
    of_teacher = teacher(params["teacher"], *state)
    of_student = student(params["student"], *state)
    estimate = bridge(params["sb"], *state)["denoise"]
    ours = {
        "raw_teacher": of_teacher["raw"],
        "denoised_teacher": of_teacher["denoise"],
        "score_teacher": of_teacher["score"],
        "denoised_student": of_student["denoise"],
        "score_student": of_student["score"],
        "estimate_sb": estimate,
    }
    for name, value in ours.items():
        yield compare(f"ncsnpp_v2: {name}", value, golden[name][:, 0], NETWORK)


def sgmse_plus(folder: Path, load: Callable[[str], Arrays]) -> Iterator[Comparison]:
    """SGMSE+'s networks and their checkpoints, and the front end at 48 kHz."""
    front_end = FrontEnd(sample_rate=48_000, n_fft=1534, hop=384, exponent=0.667, factor=0.065)
    minus_score = Preconditioning(c_in="1", c_out="-1", c_skip="0", output="score")
    for name, published, at, sde in (
        ("ncsnpp", NCSNPP, FrontEnd(), OUVE()),
        ("ncsnpp_48k", NCSNPP_48K, front_end, OUVE(gamma=2.0, sigma_min=0.1, sigma_max=1.0)),
    ):
        golden, size = load(f"network_{name}"), dataclasses.replace(published, channels=8, blocks=1)
        model = ScoreModel(ModelConfig(front_end=at, sde=sde, preconditioning=minus_score, network=size))
        params = their_params(golden, "state/", size)
        state = golden["x_t"][:, 0], golden["y"][:, 0], golden["t"]
        program = compile_model(model, "score")
        score = program(params, *state)["score"]
        yield compare(f"{name}: score", score, golden["score"][:, 0], NETWORK)
        score = program(converted(folder / f"{name}.ckpt", model)["raw"], *state)["score"]
        yield compare(f"{name}.ckpt: score", score, golden["score"][:, 0], NETWORK)
        if at == front_end:
            yield compare("48 kHz: spectrogram", at.analyse(golden["wave"]), golden["spec"], NETWORK)
            wave = at.synthesise(golden["spec"], golden["back"].shape[-1])
            yield compare("48 kHz: wave", wave, golden["back"], NETWORK)


def trajectories(
    golden: Arrays, params: Mapping[str, Params], teacher: Program, student: Program, bridge: Program
) -> Iterator[Comparison]:
    """Every sampler but the adaptive one, step by step around a compiled network."""
    y = golden["y"][:, 0]

    def score(*state: Any) -> jax.Array:
        return teacher(params["teacher"], *state)["score"]

    def denoise(*state: Any) -> jax.Array:
        return student(params["student"], *state)["denoise"]

    def estimate(*state: Any) -> jax.Array:
        return bridge(params["sb"], *state)["denoise"]

    def noise(name: str) -> Callable[[Any], jax.Array]:
        return lambda i: golden[f"{name}/noise"][int(i), :, 0]

    sde, sbve, pc = OUVE(), SBVE(), samplers.predictor_corrector
    runs: dict[str, Callable[[Any], jax.Array]] = {
        "pc_ald": lambda z: pc(score, sde, y, z, 4),
        "pc_langevin": lambda z: pc(score, sde, y, z, 3, corrector=solvers.langevin),
        "predictor_only": lambda z: samplers.predictor_only(score, sde, y, z, 4),
        "onestep": lambda z: samplers.consistency(denoise, sde, y, z),
        "multistep3": lambda z: samplers.consistency(denoise, sde, y, z, 3),
        "sb_sde": lambda z: samplers.bridge_diffusion(estimate, sbve, y, z, 5),
        "sb_ode": lambda z: samplers.bridge_probability_flow(estimate, sbve, y, 5),
    }
    with jax.disable_jit():
        results = {name: run(noise(name)) for name, run in runs.items()}
    for name, result in results.items():
        tolerance = BRIDGE_ODE if name == "sb_ode" else NETWORK
        yield compare(f"sampler: {name}", result, golden[f"{name}/out"][:, 0], tolerance)
    expected = golden["onestep/wav"]
    wave = FrontEnd().synthesise(results["onestep"], expected.shape[-1])
    yield compare("sampler: onestep, wave", wave, expected, NETWORK)


def adaptive_ode(golden: Arrays, params: Params, teacher: Program) -> Iterator[Comparison]:
    """The probability flow, integrated as they do: its right-hand side is what is compared.

    (Ours has fixed steps; a network of random parameters would need thousands.)
    """
    y, sde = golden["y"][:, 0], OUVE()

    def score(x: jax.Array, y: jax.Array, t: jax.Array) -> jax.Array:
        return teacher(params, x, y, t)["score"]

    def slope(t: float, x: np.ndarray) -> np.ndarray:
        state = jnp.asarray(x.reshape(y.shape), jnp.complex64)
        return np.asarray(solvers.probability_flow_drift(score, sde, state, y, jnp.float32(t))).ravel()

    start = np.asarray(sde.prior(y, golden["ode/noise"][0, :, 0])).ravel()
    solution = scipy.integrate.solve_ivp(slope, (sde.end_time, sde.t_eps), start, rtol=1e-5, atol=1e-5)
    result = solution.y[:, -1].reshape(y.shape)
    yield compare("sampler: ode, adaptive", result, golden["ode/out"][:, 0], NETWORK)


def checkpoints(
    folder: Path, networks: Arrays, averaged: Arrays, teacher: Program, student: Program
) -> Iterator[Comparison]:
    """PyTorch checkpoints of ROSE-CD's models; of the student with its averaged weights, too."""
    weights = {
        "teacher": converted(folder / "teacher.ckpt", TEACHER),
        "student": converted(folder / "student.ckpt", STUDENT),
    }
    for name, program in (("teacher", teacher), ("student", student)):
        state = networks["x_t"][:, 0], networks["y"][:, 0], networks["t"]
        denoised = program(weights[name]["raw"], *state)["denoise"]
        yield compare(f"{name}.ckpt: denoised", denoised, networks[f"denoised_{name}"][:, 0], NETWORK)
    state = averaged["x_t"][:, 0], averaged["y"][:, 0], averaged["t"]
    denoised = student(weights["student"]["ema"], *state)["denoise"]
    yield compare("student.ckpt: averaged", denoised, averaged["denoised_student_ema"][:, 0], NETWORK)


def converted(path: Path, model: ScoreModel) -> dict[str, Params]:
    """The weights of a PyTorch checkpoint.

    Raises:
      ValueError: if the file can't be read, or is of another model than this.
    """
    found, weights = load_torch_checkpoint(path)
    if found != model:
        raise ValueError(f"{path}: its model is {found.config}, expected {model.config}")
    return weights
