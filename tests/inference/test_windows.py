"""Long signals in windows: equal to the whole where the network sees frames one by one, and bounded."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosecd_jax.audio.level import Level, measure
from rosecd_jax.inference import Enhancer
from rosecd_jax.inference.windows import plan_windows
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from tests.inference.small import STUDENT, speech_like


class FrameByFrame(ScoreModel):
    """Mixes noisy speech, state (with its noise) and phase, each frame for itself."""

    def raw(self, params, x_t, y, t):
        return params * x_t + 0.5j * y


def enhancer(limit: float, **options) -> Enhancer:
    return Enhancer(FrameByFrame(STUDENT), np.float32(0.3), limit=limit, **options)  # type: ignore[arg-type]


WHOLE, WINDOWED = enhancer(30), enhancer(4)


def assert_equal_but_for_rounding(actual, expected):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=3e-6 * np.abs(expected).max())


@pytest.mark.parametrize("samples", [66_000, 98_304, 100_000, 131_071, 131_072, 131_073, 200_127])
def test_windows_give_what_the_whole_gives(samples):
    """Equal noise, scale and frames: also at both ends and at the joins, for lengths around a hop."""
    wave = speech_like(samples)
    assert WINDOWED.waves.is_long(samples)
    assert not WHOLE.waves.is_long(samples)
    assert_equal_but_for_rounding(WINDOWED(wave, 16_000, seed=3), WHOLE(wave, 16_000, seed=3))


def test_channels_keep_their_noise_and_their_silence():
    waves = np.stack([speech_like(150_000), np.zeros(150_000), speech_like(150_000, 1)])
    windowed = WINDOWED(waves, 16_000)
    assert_equal_but_for_rounding(windowed, WHOLE(waves, 16_000))
    assert not windowed[1].any()


def test_batches_of_windows_are_windows():
    waves = np.stack([speech_like(150_000, seed) for seed in range(3)])
    batched = enhancer(4, batch_frames=2048)
    assert batched.programs.rows(512) == 4
    assert_equal_but_for_rounding(batched(waves, 16_000), WINDOWED(waves, 16_000))


def test_another_rate_goes_there_and_back():
    wave = speech_like(300_001)
    assert_equal_but_for_rounding(WINDOWED(wave, 44_100), WHOLE(wave, 44_100))


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=40), st.integers(0, 1000))
def test_how_the_blocks_were_cut_makes_no_difference(sizes, rest):
    samples = 70_000 + rest
    wave = speech_like(samples)[None]
    cuts = [0, *itertools.takewhile(lambda c: c < samples, itertools.accumulate(sizes)), samples]
    blocks = [wave[:, a:b] for a, b in itertools.pairwise(cuts)]
    results = [
        np.concatenate(list(WINDOWED.waves.long(source, samples, measure(wave, 16_000), 0)), axis=1)
        for source in ([wave], blocks)
    ]
    np.testing.assert_array_equal(*results)


def test_no_more_is_read_ahead_than_a_few_windows():
    read = written = most = 0

    def endless():
        nonlocal read
        while True:
            read += 10_000
            yield np.full((1, 10_000), 0.1, np.float32)

    samples = 10_000_000
    blocks = itertools.islice(endless(), samples // 10_000)
    for block in WINDOWED.waves.long(blocks, samples, Level(np.zeros(1), np.float32([0.1])), 0):
        most = max(most, read - written)
        written += block.shape[1]
    assert written == samples
    assert most < 7 * WINDOWED.waves.window * 128


@given(st.integers(1000, 10**6), st.sampled_from([256, 512, 2560, 3840]), st.sampled_from([64, 128]))
def test_windows_cover_the_signal_and_fade_amid_their_overlap(frames, window, unit):
    window = -(-window // unit) * unit
    plan = plan_windows(frames, window, unit)
    assert all(first % unit == 0 for first in plan.firsts)
    assert plan.firsts[0] == 0
    assert frames <= plan.firsts[-1] + window < max(frames, window) + unit
    for (one, next_one), join in zip(itertools.pairwise(plan.firsts), plan.joins, strict=True):
        # Both windows see at least a quarter of a unit beyond the fade.
        assert next_one + unit // 4 <= join - plan.fade // 2
        assert join + plan.fade // 2 <= one + window - unit // 4
    for one, next_one in itertools.pairwise(plan.joins):
        assert one + plan.fade <= next_one


def test_at_the_joins_a_network_differs_no_more_than_elsewhere():
    """Difference from the whole signal's result, for a network with a realistic receptive field."""
    network = NCSNppConfig(channels=4, multipliers=(1, 1, 1, 1), blocks=1, attention_heights=())
    model = ScoreModel(ModelConfig(role="student", network=network))
    params = model.init(jax.random.key(0))
    noisy = jax.tree.map(lambda p: p + 0.02 * np.random.default_rng(p.size).normal(size=p.shape), params)
    whole, windowed = (Enhancer(model, noisy, limit=limit) for limit in (30, 2))
    wave = speech_like(190_000)
    error = (windowed(wave, 16_000) - whole(wave, 16_000)) ** 2
    assert error.max() > 0
    plan = plan_windows(1 + 190_000 // 128, windowed.waves.window, 64)
    near = np.zeros(wave.size, bool)
    for join in plan.joins:
        near[(join - plan.fade // 2) * 128 : (join + plan.fade // 2) * 128] = True
    assert error[near].mean() < 1.25 * error[~near].mean()
