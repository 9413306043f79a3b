"""Loggers of a run's curves: TensorBoard files, Weights & Biases, both, or none."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rosecd_jax.extras import extra


class Curves(Protocol):
    """Logger of scalars, sounds and images at a step."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers by name."""
        ...

    def sound(self, name: str, wave: NDArray[np.float32], sample_rate: int, step: int) -> None:
        """Log a wave, float32 [samples]."""
        ...

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Log an image, uint8 [height, width, 3]."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...


class TensorBoardCurves:
    """Logger to event files in a folder, with tensorboardX."""

    def __init__(self, folder: Path) -> None:
        with extra("train", "TensorBoard"):
            from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def sound(self, name: str, wave: NDArray[np.float32], sample_rate: int, step: int) -> None:
        self.writer.add_audio(name, wave.clip(-1, 1), step, sample_rate)

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        self.writer.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class WandbCurves:
    """Logger to a run of Weights & Biases, which is resumed together with the run in `folder`.

    Raises:
      ImportError: if the package wandb is not installed.
    """

    def __init__(self, folder: Path, project: str, config: Mapping[str, object]) -> None:
        with extra("wandb", "wandb_project"):
            import wandb  # pyright: ignore[reportMissingImports]
        self.wandb = wandb
        folder.mkdir(parents=True, exist_ok=True)
        remembered = folder / "wandb-run-id"
        if not remembered.exists():
            remembered.write_text(uuid.uuid4().hex)
        self.run = wandb.init(
            project=project,
            name=folder.name,
            id=remembered.read_text().strip(),
            resume="allow",
            dir=str(folder),
            config=dict(config),
        )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        # Validation scores arrive late, and W&B's own step can't decrease: log ours as a value.
        self.run.log({"step": step, **values})

    def sound(self, name: str, wave: NDArray[np.float32], sample_rate: int, step: int) -> None:
        self.run.log({"step": step, name: self.wandb.Audio(wave.clip(-1, 1), sample_rate)})

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        self.run.log({"step": step, name: self.wandb.Image(pixels)})

    def close(self) -> None:
        self.run.finish()


class ManyCurves:
    """Logger to any number of others, or none."""

    def __init__(self, *writers: Curves) -> None:
        self.writers = writers

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for writer in self.writers:
            writer.scalars(values, step)

    def sound(self, name: str, wave: NDArray[np.float32], sample_rate: int, step: int) -> None:
        for writer in self.writers:
            writer.sound(name, wave, sample_rate, step)

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        for writer in self.writers:
            writer.picture(name, pixels, step)

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


def spectrogram_picture(spectrogram: NDArray[np.complex64]) -> NDArray[np.uint8]:
    """Render a compressed spectrogram, complex64 [bins, frames], low frequencies at the bottom.

    Returns:
      uint8 [bins, frames, 3]; from black (60 dB of compressed amplitude below the maximum) to white.
    """
    amplitude = np.abs(spectrogram) + 1e-12
    decibels = 20 * np.log10(amplitude / amplitude.max())
    level = np.clip(1 + decibels[::-1] / 60, 0, 1)
    stops = np.linspace(0, 1, 5)
    colors = np.array([(0, 0, 0), (60, 15, 110), (190, 50, 90), (250, 150, 40), (255, 255, 240)])
    return np.stack([np.interp(level, stops, channel) for channel in colors.T], axis=-1).astype(np.uint8)
