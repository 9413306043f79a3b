"""The README's figure, spectrograms of a noisy recording before and after enhancement.

python -m benchmarks.picture [MODEL] [RECORDING] [PICTURE]
"""

import sys
from pathlib import Path

import librosa
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rosecd_jax import Enhancer
from rosecd_jax.audio import io

RECORDING = Path("examples/recordings/noisy")
PICTURE = Path("docs/before_after.png")
RANGE = 80  # dB below the maximum of both
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 440, 220, 44, 30, 34, 12


def spectrogram(wave: np.ndarray) -> np.ndarray:
    """Compute a spectrogram in dB, [frequency, frame]."""
    return librosa.amplitude_to_db(np.abs(librosa.stft(wave, n_fft=512, hop_length=64)), top_db=None)


def colored(level: np.ndarray, loudest: float) -> Image.Image:
    """Map levels to colors from dark blue through red and yellow to white; low frequencies at the bottom."""
    share = np.clip(1 + (level - loudest) / RANGE, 0, 1)[::-1]
    stops = np.array([[4, 6, 28], [70, 20, 110], [190, 50, 90], [250, 150, 40], [255, 250, 210]])
    pixels = np.stack([np.interp(share, np.linspace(0, 1, 5), stops[:, c]) for c in range(3)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8)).resize((WIDTH, HEIGHT))


def main(model: str = "small", recording: str = "", picture: str = str(PICTURE)) -> None:
    source = Path(recording) if recording else sorted(RECORDING.iterdir())[0]
    audio = io.read(source)
    enhanced = Enhancer.from_checkpoint(model)(audio.wave, audio.sample_rate)
    levels = [spectrogram(wave[0]) for wave in (audio.wave, enhanced)]
    loudest, seconds = max(level.max() for level in levels), audio.wave.shape[1] / audio.sample_rate
    width, height = LEFT + 2 * WIDTH + GAP + 8, TOP + HEIGHT + BOTTOM
    page = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for column, (title, level) in enumerate(
        zip(("noisy", "enhanced, one network call"), levels, strict=True)
    ):
        x = LEFT + column * (WIDTH + GAP)
        page.paste(colored(level, loudest), (x, TOP))
        draw.text((x, 8), title, "black", font)
        for second in range(int(seconds) + 1):
            at = x + second / seconds * WIDTH
            draw.line((at, TOP + HEIGHT, at, TOP + HEIGHT + 4), "black")
            draw.text((at, TOP + HEIGHT + 6), f"{second} s", "black", font, anchor="ma")
    for kilohertz in range(2, audio.sample_rate // 2000 + 1, 2):
        y = TOP + HEIGHT * (1 - 2000 * kilohertz / audio.sample_rate)
        draw.text((LEFT - 4, y), f"{kilohertz} kHz", "black", font, anchor="rm")
    page.quantize(128).save(picture, optimize=True)
    print(f"{source} -> {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
