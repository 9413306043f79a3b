"""The measurements in docs/models.md: python -m benchmarks.model_card MODEL TEST [STEPS]

TEST holds clean/ and noisy/. Prints the scores of the test set, whole and in streams, with 95 % intervals of
the mean (bootstrap-t over files), and the change of signals that a model should keep or remove: clean speech,
noise alone, silence, music, a second voice, and thumps and clicks 25 dB above the speech. STEPS: number of
sampler steps; 0: the model's default.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.data.corpus import noises
from rosecd_jax.evaluation import evaluate
from rosecd_jax.evaluation.statistics import mean_interval
from rosecd_jax.inference import Enhancer
from rosecd_jax.metrics import Scores, evaluate_pair, pesq

SCORES = {"pesq": 2, "estoi": 3, "si_sdr": 1}
RATE = 16_000


def level(wave: np.ndarray) -> float:
    """Return the RMS in dB of full scale."""
    return float(10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-20))


def interval(values: np.ndarray, digits: int) -> str:
    """Format mean [95 % interval], as an evaluation computes it."""
    found = mean_interval(values)
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def summary(scores: Iterable[Scores]) -> str:
    """Format every score of some files, with its interval."""
    columns = dict(zip(Scores._fields, np.array(list(scores)).T, strict=True))
    return "  ".join(f"{name} {interval(columns[name], digits)}" for name, digits in SCORES.items())


def melody(seconds: float = 6.0) -> np.ndarray:
    """Synthesize chords of decaying harmonic notes, two per second."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.zeros(time.size)
    for number in range(int(2 * seconds)):
        root = 220 * 2 ** ((0, 5, 7, 3)[number % 4] / 12)
        since = np.maximum(time - number / 2, 0)
        for note in (root, root * 2 ** (4 / 12), root * 1.5):
            for harmonic in range(1, 9):
                strength = (time >= number / 2) * np.exp(-4 * since) / harmonic
                wave += strength * np.sin(2 * np.pi * harmonic * note * since)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def gains_db(estimate: np.ndarray, sources: list[np.ndarray]) -> list[float]:
    """Return the gain of each source in an estimate, in dB, by least squares."""
    gains = np.linalg.lstsq(np.stack(sources, 1), estimate, rcond=None)[0]
    return [float(20 * np.log10(max(abs(gain), 1e-5))) for gain in gains]


def with_events(wave: np.ndarray, event: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Add an event `count` times, 25 dB above the maximum; also return where one is within 50 ms."""
    starts = (np.arange(count) + 0.5) / count * wave.size
    train = np.zeros(wave.size, np.float32)
    for start in starts.astype(int):
        train[start : start + event.size] += event
    near = np.convolve(train != 0, np.ones(RATE // 10), "same") > 0
    return wave + 10 ** (25 / 20) * np.abs(wave).max() * train, near


def streamed(enhancer: Enhancer, wave: np.ndarray) -> np.ndarray:
    """Enhance a wave in a stream."""
    stream = enhancer.stream()
    return np.concatenate([stream.push(wave), stream.flush()])[stream.latency :]


def report_events(enhancer: Enhancer, test: Path) -> None:
    """Print the PESQ of the first and the last 9 s of a test set with events.

    Only the result away from the events is scored, where it should be as without them.
    """
    pairs = [(io.read(test / "clean" / f.name).wave[0], io.read(f).wave[0]) for f in io.find(test / "noisy")]
    clean, noisy = (np.concatenate(waves) for waves in zip(*pairs, strict=True))
    thump = np.sin(2 * np.pi * 100 * np.arange(480) / RATE) * np.hanning(480)
    for part in (slice(9 * RATE), slice(-9 * RATE, None)):
        plain, scores = enhancer(noisy[part], RATE), []
        for event, count in ((thump, 0), (thump, 1), (thump, 5), (np.ones(1), 1), (np.ones(1), 5)):
            loud, near = with_events(noisy[part], event.astype(np.float32), count)
            scores.append(pesq(clean[part], np.where(near, plain, enhancer(loud, RATE)), RATE))
        words = ("none", "1 thump", "5 thumps", "1 click", "5 clicks")
        print("events: " + "  ".join(f"{w} {s:.2f}" for w, s in zip(words, scores, strict=True)))


def main(model: str, test: Path, steps: int = 0) -> None:
    """Measure a model and print the results."""
    enhancer = Enhancer.from_checkpoint(model, steps=steps)
    weights = sum(leaf.size for leaf in jax.tree.leaves(enhancer.params))
    print(f"{model}: {weights:,} weights, {enhancer.sampler.steps} steps")
    noisy, enhanced = evaluate(test, [("noisy", None), (model, enhancer)])
    print(f"{len(noisy.files)} noisy files: {summary(one.scores for one in noisy.files)}")
    print(
        f"enhanced: {summary(one.scores for one in enhanced.files)}  {enhanced.real_time_factor:.3f} s per s"
    )

    clean = [io.read(file).wave[0] for file in io.find(test / "clean")]
    inputs = [io.read(file).wave[0] for file in io.find(test / "noisy")]
    if enhancer.sampler.network_calls == 1:  # others can't keep up
        scores = [
            evaluate_pair(wave, noisy, streamed(enhancer, noisy), RATE)
            for wave, noisy in zip(clean, inputs, strict=True)
        ]
        print(f"enhanced in a stream: {summary(scores)}")
    scores = [evaluate_pair(wave, wave, enhancer(wave, RATE), RATE) for wave in clean]
    print(f"clean files, enhanced: {summary(scores)}")

    for kind, make in noises.GENERATORS.items():
        wave = 0.1 * make(np.random.default_rng(0), 5 * RATE, RATE).astype(np.float32)
        print(f"noise alone, {kind}: {level(enhancer(wave, RATE)) - level(wave):+.1f} dB")
    print(f"silence: loudest sample {np.abs(enhancer(np.zeros(5 * RATE), RATE)).max():.2g}")
    faint = 1e-4 * np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32)
    print(f"white noise at {level(faint):.0f} dB: {level(enhancer(faint, RATE)) - level(faint):+.1f} dB")
    music = melody()
    change = level(enhancer(music, RATE)) - level(music)
    print(f"music alone: {change:+.1f} dB")

    first, second = clean[0], clean[len(clean) // 2]
    samples = min(first.size, second.size)
    for below in (0, 10):
        voices = [wave[:samples] / np.std(wave[:samples]) * 0.05 for wave in (first, second)]
        voices[1] = voices[1] * 10 ** (-below / 20)
        changes = gains_db(enhancer(voices[0] + voices[1], RATE), voices)
        print(f"second voice, {below} dB lower: first {changes[0]:+.1f} dB, second {changes[1]:+.1f} dB")
    report_events(enhancer, test)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:4]))
