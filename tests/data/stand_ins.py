"""Stand-ins of published corpora: their folders and names, with short synthetic waves."""

import zlib
from pathlib import Path

import numpy as np
import soundfile

CORE_ROWS = (
    ("mdab0", "mwbt0", "felc0", "mtas1", "mwew0", "fpas0"),
    ("mjmp0", "mlnt0", "fpkt0", "mlll0", "mtls0", "fjlm0"),
    ("mbpm0", "mklt0", "fnlp0", "mcmj0", "mjdh0", "fmgd0"),
    ("mgrt0", "mnjm0", "fdhc0", "mjln0", "mpam0", "fmld0"),
)
CORE = [speaker for row in CORE_ROWS for speaker in row]
NOISES = ("babble", "destroyerops", "factory1", "volvo", "white")


def voice(name: str, seconds: float, rate: int, level: float = 0.1) -> np.ndarray:
    """Bursts of a harmonic tone that the name decides, float64 [samples]."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    axis = np.arange(round(seconds * rate)) / rate
    pitch = generator.uniform(90, 250)
    tone = sum(np.sin(2 * np.pi * pitch * k * axis + k) / k for k in range(1, 12))
    bursts = np.clip(np.sin(2 * np.pi * generator.uniform(1, 2) * axis) + 0.5, 0, 1)
    return level * bursts * tone + 1e-4 * generator.normal(size=axis.size)


def noise(name: str, seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """Colored noise that the name decides, float64 [samples, channels]."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    white = generator.normal(size=(round(seconds * rate) + 1, channels))
    return 0.05 * (white[1:] + generator.uniform(-0.9, 0.9) * white[:-1])


def put(path: Path, wave: np.ndarray, rate: int, subtype: str = "PCM_16", format: str = "WAV") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), wave, rate, subtype=subtype, format=format)


def timit(root: Path) -> Path:
    """192 core test sentences as NIST SPHERE, and others: the SA sentences, another speaker, training."""
    for number, speaker in enumerate(CORE):
        folder = root / "TIMIT" / "TEST" / f"DR{number // 3 + 1}" / speaker.upper()
        for sentence in (*(f"SX{10 * k + number}" for k in range(5)), *(f"SI{k}" for k in range(3)), "SA1"):
            wave = voice(speaker + sentence, 0.25 + 0.01 * number, 16_000)
            put(folder / f"{sentence}.WAV", wave, 16_000, format="NIST")
    for other in ("TEST/DR1/FAKS0", "TRAIN/DR1/FCJF0"):
        put(root / "TIMIT" / other / "SX133.WAV", voice(other, 0.3, 16_000), 16_000, format="NIST")
    return root / "TIMIT"


def noisex(root: Path) -> Path:
    for name in NOISES:
        put(root / "NOISEX-92" / f"{name}.wav", noise(name, 2, 19_980), 19_980)
    return root / "NOISEX-92"


def wsj0(root: Path, count: int = 6) -> Path:
    for split in ("si_tr_s", "si_dt_05", "si_et_05"):
        for speaker in ("440", "441"):
            for number in range(count // 2):
                name = f"{speaker}c02{number:02d}"
                wave = voice(split + name, 0.5 + 0.1 * number, 16_000, 0.4)
                put(root / "csr_1" / "wsj0" / split / speaker / f"{name}.wav", wave, 16_000)
    return root / "csr_1"


def chime3(root: Path) -> Path:
    folder = root / "CHiME3" / "data" / "audio" / "16kHz"
    for place in ("BUS", "CAF", "PED", "STR"):
        for channel in (1, 5):
            name = f"BGD_150203_010_{place}.CH{channel}.wav"
            put(folder / "backgrounds" / name, noise(name, 2, 16_000), 16_000)
    put(folder / "isolated" / "F01_22GC010A_BUS.CH1.wav", noise("speech", 2, 16_000), 16_000)
    return root / "CHiME3"


def qut(root: Path) -> Path:
    """The car's sweeps are a loud tone in the first and last two minutes."""
    for name in ("CAFE-CAFE-1", "CAFE-FOODCOURTB-1", "HOME-KITCHEN-1", "STREET-CITY-1"):
        put(root / "QUT-NOISE" / f"{name}.wav", noise(name, 3, 48_000, 2), 48_000)
    car = noise("car", 242, 16_000)
    car[: 120 * 16_000] = car[-120 * 16_000 :] = 0.9
    put(root / "QUT-NOISE" / "CAR-WINDOWNB-1.wav", car, 16_000)
    return root / "QUT-NOISE"


def ears(root: Path) -> Path:
    """A recording is long enough for two parts, one too short, one of a style that is left out."""
    for number in range(102, 108):
        for name, seconds in (("emo_fear_sentences", 4.5), ("rainbow_01_whisper", 1.0), ("melodic_01", 5.0)):
            put(
                root / "EARS" / f"p{number}" / f"{name}.wav",
                voice(f"{number}{name}", seconds, 48_000),
                48_000,
            )
    put(root / "EARS" / "p102" / "freeform_speech_01.wav", voice("long", 15, 48_000, 0.02), 48_000)
    return root / "EARS"


def wham(root: Path) -> Path:
    for number, seconds in enumerate((16, 11, 2)):
        name = f"10_0{number}_0.5.wav"
        path = root / "WHAM48kHz" / "high_res_wham" / "audio" / name
        put(path, noise(name, seconds, 48_000, 2), 48_000, "PCM_24")
    return root / "WHAM48kHz"


def rooms(root: Path) -> Path:
    """Decaying noise after a delay: two rooms that are used, and one that reverberates for too long."""
    places = {
        "ACE-Challenge/Single/Office_1/1/Single_403_1_RIR.wav": (0.5, 48_000),
        "ARNI/numClosed_0-5/IR_numClosed_0_numComb_1_mic_1_sweep_1.wav": (1.2, 44_100),
        "Palimpsest/Dome/Dome.wav": (6.0, 48_000),
    }
    for name, (t60, rate) in places.items():
        decay = 10 ** (-3 * np.arange(round(t60 * rate)) / (t60 * rate))
        response = 0.02 * decay[:, None] * noise(name, t60, rate, 2) / 0.05
        response[0] = 0.9
        put(root / "ROOMS" / name, np.pad(response, ((100, 0), (0, 0))), rate, "FLOAT")
    put(
        root / "ROOMS" / "ACE-Challenge/Single/Office_1/1/Single_403_1_noise.wav",
        noise("n", 1, 48_000),
        48_000,
    )
    return root / "ROOMS"
