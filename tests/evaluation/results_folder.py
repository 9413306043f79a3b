"""A folder like that of `rosecd evaluate --output`, of waves that need no download, made in a second."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.audio.mixing import mix_at_snr

RATE = 16_000
Pair = tuple[str, np.ndarray, np.ndarray]
"""File name, clean wave and noisy wave, float32 [samples]."""
Wave = Callable[[np.ndarray, np.ndarray], np.ndarray]
SYSTEMS: dict[str, tuple[dict[str, Any], Wave]] = {
    "teacher-5": ({"kind": "checkpoint", "network_calls": 10}, lambda clean, noise: clean + 0.4 * noise),
    "small": ({"kind": "checkpoint", "network_calls": 1}, lambda clean, noise: clean + 0.25 * noise),
    "other <b>program</b>": (
        {"kind": "folder"},
        lambda clean, noise: 0.9 * clean + 0.8 * np.roll(noise, 400),
    ),
}
"""Name -> what results.json says of it, and what it makes of clean speech and noise."""
MEASURES = [
    {
        "name": "pesq",
        "title": "PESQ",
        "unit": "",
        "digits": 2,
        "better": "higher",
        "note": "stands in for it",
    },
    {"name": "si_sdr", "title": "SI-SDR", "unit": "dB", "digits": 1, "better": "higher", "note": "as usual"},
    {"name": "lsd", "title": "LSD", "unit": "dB", "digits": 2, "better": "lower", "note": "of 32 ms frames"},
    {"name": "level", "title": "Level change", "unit": "dB", "digits": 1, "better": "", "note": ""},
]


def pairs(count: int = 6, seconds: float = 1.0) -> list[Pair]:
    """Harmonic tones in syllables, in noise of -5 dB and more; one name is hostile, one in a folder."""
    generator = np.random.default_rng(0)
    names = ["<script>alert(1)</script>.wav", "sub/b&amp.wav"]
    names += [f"p{232 + 25 * (i % 2)}_{i:03}.wav" for i in range(2, count)]
    return [(name, *pair(generator, seconds, -5 + 20 * i / count)) for i, name in enumerate(names[:count])]


def pair(generator: np.random.Generator, seconds: float, snr_db: float) -> tuple[np.ndarray, np.ndarray]:
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = 120 + 40 * np.sin(2 * np.pi * (0.7 + generator.random()) * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    speech = (
        sum(np.sin(k * phase) / k for k in range(1, 30)) * np.maximum(0, np.sin(2 * np.pi * 3 * time)) ** 2
    )
    clean, noisy = mix_at_snr(0.1 * speech.astype(np.float32), generator.normal(size=time.size), snr_db)
    return np.asarray(clean), np.asarray(noisy)


def write_results(folder: Path, data: Sequence[Pair], output: str = "results") -> Path:
    """Write the waves of all systems and results.json; returns the evaluation's directory."""
    directory = folder / output
    for name, clean, noisy in data:
        io.write(folder / "clean" / name, clean, RATE)
        io.write(folder / "noisy" / name, noisy, RATE)
        for system, (about, make) in SYSTEMS.items():
            io.write(wave_folder(directory, system, about) / name, make(clean, noisy - clean), RATE)
    results = make_results(folder, directory, data)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results, indent=1), "utf-8")
    times = {"small": {"real_time_factor": 0.0312, "computing_seconds": 1.0, "audio_seconds": 32.0}}
    (directory / "times.json").write_text(json.dumps({"systems": times}), "utf-8")
    return directory


def wave_folder(directory: Path, system: str, about: dict[str, Any]) -> Path:
    return directory / system if about["kind"] == "checkpoint" else directory.parent / "other"


def make_results(folder: Path, directory: Path, data: Sequence[Pair]) -> dict[str, Any]:
    """What results.json says of such waves."""
    systems: dict[str, Any] = {"noisy": ({"kind": "noisy", "files": "", "source": ""}, lambda c, n: c + n)}
    for name, (about, make) in SYSTEMS.items():
        where = name if about["kind"] == "checkpoint" else str(wave_folder(directory, name, about))
        systems[name] = ({"source": where, "files": where, **about}, make)
    files = []
    for i, (name, clean, noisy) in enumerate(data):
        noise = noisy - clean
        scored = {}
        for system, (_, make) in systems.items():
            scores = score(clean, make(clean, noise))
            scored[system] = {"file": name, "scores": scores, "error": "", "note": "", "delay": 0}
        if i == 2:
            scored["small"] |= {"note": "cut to 16000 samples"}
            scored[next(iter(SYSTEMS))]["scores"]["pesq"] = None
        entry = {
            "file": name,
            "clean": name,
            "noisy": name,
            "seconds": clean.size / RATE,
            "sample_rate": RATE,
        }
        entry |= {"snr": round(float(10 * np.log10(np.sum(clean**2) / np.sum(noise**2))), 6)}
        entry |= {"columns": {"speaker": Path(name).name[:4]}, "systems": scored}
        files.append(entry)
    return {
        "format": 1,
        "data": str(folder),
        "clean": str(folder / "clean"),
        "noisy": str(folder / "noisy"),
        "versions": {"rosecd_jax": "0.0", "pesq": "0.0.4"},
        "measures": MEASURES,
        "baseline": "noisy",
        "systems": [system_entry(name, about, files) for name, (about, _) in systems.items()],
        "groups": groups(files, list(systems)),
        "columns": ["speaker"],
        "files": files,
    }


def score(clean: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    """SI-SDR as it is; the others only look like what they are called."""
    scale = np.dot(clean, estimate) / np.dot(clean, clean)
    ratio = 10 * np.log10(np.sum((scale * clean) ** 2) / np.sum((estimate - scale * clean) ** 2))
    level = 10 * np.log10(np.sum(estimate**2) / np.sum(clean**2))
    found = {
        "pesq": 1 + 3.5 / (1 + np.exp((8 - ratio) / 6)),
        "si_sdr": ratio,
        "lsd": 12 - ratio / 4,
        "level": level,
    }
    return {name: round(float(value), 6) for name, value in found.items()}


def interval(values: list[float]) -> dict[str, float]:
    mean, error = float(np.mean(values)), 2 * float(np.std(values)) / len(values) ** 0.5
    return {"mean": round(mean, 6), "low": round(mean - error, 6), "high": round(mean + error, 6)}


def values_of(files: Sequence[dict[str, Any]], system: str, measure: str) -> list[float]:
    found = (file["systems"][system]["scores"][measure] for file in files)
    return [value for value in found if value is not None]


def system_entry(name: str, about: dict[str, Any], files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    summary, difference = {}, {}
    for measure in MEASURES:
        key = measure["name"]
        values = values_of(files, name, key)
        summary[key] = {**interval(values), "std": round(float(np.std(values)), 6), "files": len(values)}
        scores = [(f["systems"][name]["scores"][key], f["systems"]["noisy"]["scores"][key]) for f in files]
        gains = [score - before for score, before in scores if score is not None]
        sign = -1 if measure["better"] == "lower" else 1
        better = float(np.mean([sign * gain > 0 for gain in gains]))
        difference[key] = {**interval(gains), "better": better, "worse": 1 - better, "files": len(gains)}
    entry = {"name": name, "settings": {"steps": 5} if name == "teacher-5" else {}, "network_calls": None}
    found = {"summary": summary, "difference": None if name == "noisy" else difference}
    return entry | about | found | {"notes": [], "errors": []}


def groups(files: Sequence[dict[str, Any]], systems: Sequence[str]) -> list[dict[str, Any]]:
    """By input SNR and by speaker."""
    bands = [(-100, 0, "below 0 dB"), (0, 10, "0 to 10 dB"), (10, 100, "10 dB and more")]
    parts = [("snr", label, [f for f in files if low <= f["snr"] < high]) for low, high, label in bands]
    speakers = sorted({file["columns"]["speaker"] for file in files})
    parts += [("speaker", name, [f for f in files if f["columns"]["speaker"] == name]) for name in speakers]
    found = []
    for by, label, members in parts:
        scores = {s: {m["name"]: values_of(members, s, m["name"]) for m in MEASURES} for s in systems}
        summed = {
            s: {m: interval(v) | {"files": len(v)} for m, v in all_.items() if v}
            for s, all_ in scores.items()
        }
        if members:
            found.append({"by": by, "label": label, "files": len(members), "systems": summed})
    return found
