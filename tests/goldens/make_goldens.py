"""Make the committed numbers from all that the authors' code gave: python -m tests.goldens.make_goldens

Reads ../shared/goldens (its README.md says what each array is and how it was computed) and writes the .npz
files next to this one, 7.6 instead of 37 MB; a second run gives the same bytes. What is kept:

- One item of every network's output, sampler's result and solver's step. Both items of x, y and all noise
  where a quantity couples them: the losses' means, the EDM weight that the authors broadcast wrongly.
- Every weight, bit for bit, and the checkpoints byte for byte: they and all noise began as PyTorch's random
  numbers, so that a seed and the differences in the last places are enough (torch_random.py, packing.py).
- Of the gradient with respect to each parameter at most 128 entries at equal distances and the largest, which
  the tolerance is relative to; all parameters are there.
- A corner of the process's spectrograms, which it treats element by element.
- Arrays that several files share (x, y, x_t) once; spectrograms without their axis of one channel.

Everything that is written is read again and compared with its source before this ends.
"""

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from rosecd_jax.conversion.torch_file import read_torch_file
from tests.goldens import packing
from tests.goldens.packing import F32, STREAM, Arrays, save, to_planes, ulps
from tests.goldens.torch_random import TorchRandom

SOURCE = Path(__file__).parents[3] / "shared" / "goldens"
HALF = np.sqrt(0.5)
"""The scale of each part of complex normal noise."""
TERMS = ("consistency", "pesq", "si_sdr", "loss")
VARIANTS = [f"{solver}_{kind}" for solver in ("pc2", "euler", "heun", "mix") for kind in ("noise", "mean")][
    :-1
]
NETWORKS = {
    "teacher": ("ncsnpp_v2", 110, 0.9),
    "student": ("ncsnpp_v2", 120, 0.9),
    "target": ("ncsnpp_v2", 130, 0.9),
    "sb": ("ncsnpp_v2", 140, 0.9),
    "ncsnpp": ("ncsnpp", 300, 1.0),
    "ncsnpp_48k": ("ncsnpp_48k", 300, 1.0),
}
"""Layout, seed, and the decay between a start and its average."""


def main() -> None:
    write("speech", {name: source("distillation")[name][:, 0] for name in ("x", "y")})
    front = source("frontend")
    names = ("noisy", "stft_noisy", "back", "wav")
    write("frontend", {name: front[name][:1] for name in names} | {"window": front["window"]})
    sde = source("sde")
    write("sde", {name: sde[name][:, 0, :24, :16] if sde[name].ndim == 4 else sde[name] for name in sde})
    write("losses", source("losses"))
    write("optimiser", source("optimiser"))
    write_networks()
    write_checkpoints()
    write_outputs()
    write_samplers()
    write_steps()


def source(name: str) -> Arrays:
    with np.load(SOURCE / f"{name}.npz") as file:
        return dict(file)


def write(name: str, arrays: Arrays, drawn: dict[str, tuple[int, int, float]] | None = None) -> None:
    """Write arrays; those that were drawn as [seed, position, scale]."""
    packed = {}
    for key, array in arrays.items():
        if key in (drawn or {}):
            parameters = np.array(drawn[key])
            parts = np.ascontiguousarray(array).view(F32)
            difference = ulps(parts, packing.noise(parameters, parts.shape))
            assert difference.dtype == np.int8, f"{name}: {key} was not drawn there"
            packed |= {f"{key}:noise": parameters, f"{key}:ulps": difference}
        elif array.nbytes > 10_000 and array.dtype in (F32, np.complex64):
            packed[f"{key}:{array.dtype}"] = to_planes(array)
        else:
            packed[key] = array
    save(name, packed)
    packing.golden.cache_clear()
    found = packing.golden(name)
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        assert (found[key].dtype, found[key].shape) == (array.dtype, array.shape), key
        assert found[key].tobytes() == np.ascontiguousarray(array).tobytes(), key


def write_outputs() -> None:
    """What the networks give of the second item: at t = 1 of the first the embedding of log t is trivial."""
    arrays = source("network")
    names = ("raw_teacher", "score_teacher", "denoised_teacher", "score_student", "denoised_student")
    kept = {name: arrays[name][1:, 0] for name in ("x_t", *names, "estimate_sb")} | {"t": arrays["t"][1:]}
    averaged = source("checkpoint_outputs")
    assert np.array_equal(averaged["x_t"], arrays["x_t"])
    write("network", kept | {"denoised_student_ema": averaged["denoised_student_ema"][1:, 0]})
    for name, start in (("ncsnpp", 371_518 + 2 * 256 * 64), ("ncsnpp_48k", 362_390 + 2 * 768 * 64)):
        arrays = source(f"network_{name}")
        kept = {key: arrays[key][1:, 0] for key in ("x_t", "y", "score")} | {"t": arrays["t"][1:]}
        kept |= {key: arrays[key][1:] for key in ("wave", "spec", "back") if key in arrays}
        write(f"network_{name}", kept, {"y": (300, start, 0.2 * HALF)})


def write_samplers() -> None:
    arrays, kept = source("samplers"), {}
    for name, array in arrays.items():
        if name.endswith("/noise"):
            kept[name] = array[:, :, 0]
        elif name.endswith("/out"):
            kept[name] = array[:, 0]
    shared = kept["pc_ald/noise"]  # the others begin as it does
    for name in ("pc_langevin/noise", "predictor_only/noise"):
        assert np.array_equal(kept[name], shared[: len(kept[name])])
        del kept[name]
    seeds = {"pc_ald": 150, "onestep": 151, "multistep3": 152, "sb_sde": 153, "ode": 154}
    drawn = {f"{name}/noise": (seed, 0, HALF) for name, seed in seeds.items()}
    write("samplers", kept | {"onestep/wav": arrays["onestep/wav"]}, drawn)


def write_steps() -> None:
    """Objectives, distillation's step and consistency training."""
    arrays = source("teacher_objectives")
    kept = {"u": arrays["precond_edm/u"], "z": arrays["precond_edm/z"][:, 0]}
    for name in ("precond_edm", "score_matching", "denoiser_unit", "data_prediction"):
        kept[f"{name}/loss"] = arrays[f"{name}/loss"]
        assert all(np.array_equal(arrays[f"{name}/{part}"], arrays[f"precond_edm/{part}"]) for part in "uz")
    for name in ("precond_edm", "data_prediction"):
        kept |= gradients(arrays, f"{name}/")
    write("teacher_objectives", kept, {"z": (160, 2, HALF)})

    arrays = source("distillation")
    kept = {name: arrays[name] for name in ("index", "t2")} | {"z": arrays["z"][:, 0]}
    kept |= {"solver_noise": arrays["solver_noise"][:, 0, 0], "target": arrays["pc2_noise/target"][:1, 0]}
    kept |= {f"{name}/x_t2": arrays[f"{name}/x_t2"][:1, 0] for name in VARIANTS}
    kept |= {f"{name}/consistency": arrays[f"{name}/consistency"] for name in VARIANTS}
    kept |= {f"pc2_noise/{term}": arrays[f"pc2_noise/{term}"] for term in TERMS}
    kept |= gradients(arrays, "pc2_noise/")
    write("distillation", kept, {"z": (170, 2, HALF), "solver_noise": (170, 65_538, HALF)})

    arrays = source("consistency_training")
    kept = {name: arrays[name] for name in ("index", *TERMS)} | {
        name: arrays[name][:, 0] for name in ("z", "z2")
    }
    drawn = {"z": (130, 517_854, HALF), "z2": (130, 583_390, HALF)}
    write("consistency_training", kept | gradients(arrays, ""), drawn)


def gradients(arrays: Arrays, prefix: str) -> Arrays:
    whole = {key.partition("grad/")[2]: a for key, a in arrays.items() if key.startswith(f"{prefix}grad/")}
    names = packing.gradient_names(whole)
    largest = np.array([np.abs(whole[name]).argmax() for name in names], np.int32)
    entries = [packing.kept(whole[name], place) for name, place in zip(names, largest, strict=True)]
    return {f"{prefix}largest": largest, f"{prefix}entries": np.concatenate(entries)}


def write_networks() -> None:
    every, packed = source("network"), {}
    for name, (kind, seed, decay) in NETWORKS.items():
        prefix = "state/" if kind == name else f"{name}/"
        arrays = every if prefix != "state/" else source(f"network_{name}")
        weights = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
        averages = averaged(name) if (SOURCE / f"{name}.ckpt").is_file() else {}
        key = f"{kind}.json"
        if key not in packed:
            packed[key] = np.frombuffer(
                json.dumps(find_layout(weights, averages, seed, decay)).encode(), np.uint8
            )
        layout = json.loads(packed[key].tobytes())
        frequencies = next(a for key, a in weights.items() if key.endswith(".0.W"))
        predicted = packing.predict(layout, seed, decay, frequencies)
        packed |= {f"{name}/layout": np.array(kind), f"{name}/seed": np.array([seed, decay])}
        packed[f"{name}/frequencies"] = frequencies
        for part, given, guess in zip(("weights", "averages"), (weights, averages), predicted, strict=True):
            if given:
                assert list(given) == [entry[0] for entry in layout]
                flat = np.concatenate([array.ravel() for array in given.values()])
                packed[f"{name}/{part}"] = to_planes(flat.view(np.int32) - guess.view(np.int32))
    save("networks", packed)
    packing.network.cache_clear()


def find_layout(weights: Arrays, averages: Arrays, seed: int, decay: float) -> list:
    """Where in the seed's stream every parameter was drawn, and its scale; see packing.predict."""
    stream, added, layout = TorchRandom(seed).uniform(STREAM), TorchRandom(seed + 1), []
    for name, array in weights.items():
        if name.endswith(".0.W"):
            layout.append([name, array.shape, None, 0.0])
            continue
        start = array.ravel() - 0.05 * added.normal(array.size).astype(float)
        if decay == 1:  # then the average is the start, and exact
            start = averages[name].ravel().astype(float)
        layout.append([name, array.shape, *find(start, array.shape, stream)])
    return layout


def find(start: np.ndarray, shape: tuple[int, ...], stream: np.ndarray) -> tuple[int | None, float]:
    for constant in (0.0, 1.0):
        if np.abs(start - constant).max() < 1e-9 or (constant and np.abs(start - constant).max() < 1e-5):
            return None, constant
    receptive = int(np.prod(shape[2:]))
    fan_in, fan_out = (shape[1] * receptive, shape[0] * receptive) if len(shape) > 1 else (4, 4)
    scales = [np.sqrt(6 * scale / (fan_in + fan_out)) for scale in (1, 0.1, 1e-10)] + [np.sqrt(1 / fan_in)]
    for scale in scales:
        uniform = (start / scale + 1) / 2
        for place in np.nonzero(np.abs(stream[: -start.size] - uniform[0]) < 3e-6)[0]:
            if np.abs(stream[place : place + start.size] - uniform).max() < 1e-5:
                return int(place), float(scale)
    assert np.abs(start).max() < 2e-5, "a parameter that was drawn otherwise"
    return None, 0.0


def averaged(name: str) -> Arrays:
    file = read_torch_file(SOURCE / f"{name}.ckpt")
    names = [key.removeprefix("dnn.") for key in file["state_dict"] if key.startswith("dnn.")]
    shadow = [tensor.read() for tensor in file["ema"]["shadow_params"]]
    return dict(zip(names, shadow, strict=True))


def write_checkpoints() -> None:
    """Each file with zeros in place of its tensors, and their places."""
    packed = {}
    for name in ("teacher", "student", "ncsnpp", "ncsnpp_48k"):
        data = (SOURCE / f"{name}.ckpt").read_bytes()
        rest, places, at = bytearray(data), [], {}
        for member in zipfile.ZipFile(io.BytesIO(data)).infolist():
            header = data[member.header_offset :]
            start = member.header_offset + 30 + sum(np.frombuffer(header[26:30], "<u2").tolist())
            at.setdefault(data[start : start + member.file_size], []).append(start)
        for array in (a for weights in packing.network(name) for a in weights.values()):
            places.append(at[array.tobytes()].pop(0))
            rest[places[-1] : places[-1] + array.nbytes] = bytes(array.nbytes)
        packed |= {name: np.frombuffer(rest, np.uint8), f"{name}/places": np.array(places, np.int32)}
    save("checkpoints", packed)
    for name in ("teacher", "student", "ncsnpp", "ncsnpp_48k"):
        assert packing.checkpoint(name) == (SOURCE / f"{name}.ckpt").read_bytes(), name


if __name__ == "__main__":
    main()
