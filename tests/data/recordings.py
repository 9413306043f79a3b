"""Paired recordings for tests: small, and all different."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from rosecd_jax.audio import io

RATE = 16_000
STEMS = ("clean_trainset_28spk_wav", "noisy_trainset_28spk_wav", "clean_testset_wav", "noisy_testset_wav")


def noise(name: str, samples: int, subtype: str = "PCM_16") -> np.ndarray:
    """Noise that only its name decides, float32 [samples]; on the 16-bit grid for PCM_16."""
    wave = np.random.default_rng(zlib.crc32(name.encode())).uniform(-0.9, 0.9, samples).astype(np.float32)
    return wave if subtype == "FLOAT" else np.round(wave * 2**15) / np.float32(2**15)


def write_pair(
    folder: Path, name: str, samples: int, rate: int = RATE, subtype: str = "PCM_16", sides=("clean", "noisy")
) -> None:
    """A pair in folder/clean and folder/noisy, or as `sides` says."""
    for side in sides:
        io.write(folder / side / name, noise(side + name, samples, subtype), rate, subtype)


def write_voicebank(folder: Path, rate: int = 48_000) -> dict[str, list[str]]:
    """A tiny VoiceBank-DEMAND, unpacked. Returns the names of each split."""
    names = {
        "train": ["p227_001.wav", "p228_002.wav", "p286_001.wav"],
        "valid": ["p226_001.wav", "p226_002.wav", "p287_003.wav"],
        "test": ["p232_001.wav", "p257_002.wav"],
    }
    for split, files in names.items():
        for number, name in enumerate(files):
            sides = STEMS[2:] if split == "test" else STEMS[:2]
            write_pair(folder, name, 3_000 + 100 * number, rate, sides=sides)
    return names


def zip_up(folder: Path, target: Path, top: str = "", junk: bool = False) -> None:
    """The files of a folder as target/NAME.zip, below a top folder or not, with what macOS adds or not."""
    target.mkdir(exist_ok=True)
    with zipfile.ZipFile(target / f"{folder.name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.wav")):
            archive.write(file, f"{top}{file.relative_to(folder).as_posix()}")
            if junk:
                archive.writestr(f"__MACOSX/{top}._{file.name}", b"junk")
                archive.writestr(f"__MACOSX/{top}{file.name}", b"junk")
                archive.writestr(f"{top}._{file.name}", b"junk")
        if junk:
            archive.writestr(f"{top}.DS_Store", b"junk")
            archive.writestr(f"{top}readme.txt", b"junk")
