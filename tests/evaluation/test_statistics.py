"""rosecd_jax.evaluation.statistics: coverage on known distributions, and the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosecd_jax.evaluation import statistics
from rosecd_jax.evaluation.statistics import mean_interval, paired_difference, snr_group


@pytest.mark.parametrize("files", [8, 14, 50])
@pytest.mark.parametrize(("shape", "mean"), [("normal", 0.0), ("gamma", 2.0)])
def test_intervals_hold_the_true_mean_as_often_as_they_say(monkeypatch, files, shape, mean):
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    hits = 0
    for seed in range(600):
        generator = np.random.default_rng(seed)
        values = generator.normal(size=files) if shape == "normal" else generator.gamma(2.0, size=files)
        found = mean_interval(values, seed)
        hits += found.low <= mean <= found.high
    assert hits / 600 == pytest.approx(0.95, abs=0.03)


@given(st.lists(st.floats(-50, 100), min_size=2, max_size=30), st.floats(-10, 10))
def test_an_interval_holds_its_mean_and_moves_with_the_values(values, shift):
    found, moved = mean_interval(values), mean_interval(np.array(values) + shift)
    assert found == mean_interval(values)  # the same draws
    assert found.files == len(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    if np.ptp(values) > 1e-3:
        assert moved.low - found.low == pytest.approx(shift, abs=1e-6)
        assert found.high - found.low < 40 * np.std(values)  # however the values lie


def test_few_or_equal_values():
    assert mean_interval([]).files == 0
    assert np.isnan(mean_interval([np.nan, np.nan]).mean)
    one = mean_interval([3.0, np.nan])
    assert (one.mean, one.files) == (3.0, 1)
    assert np.isnan(one.low)
    assert mean_interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0, 0.0, 3)


def test_differences_are_paired():
    baseline = np.array([1.0, 5.0, 9.0, 20.0, np.nan])
    found = paired_difference(baseline + np.array([0.5, 0.6, 0.4, 0.5, 0.0]), baseline)
    assert found.mean == pytest.approx(0.5)
    assert 0.35 < found.low < 0.5 < found.high < 0.65  # the files' spread plays no part
    assert (found.better, found.worse, found.files) == (1.0, 0.0, 4)
    assert paired_difference(baseline + 1, baseline, "lower").worse == 1.0
    assert paired_difference(baseline + 1, baseline, "").better == 0.0
    assert paired_difference([np.nan], [1.0]).files == 0


@pytest.mark.parametrize(
    ("snr", "label"),
    [
        (-7.0, "below -5 dB"),
        (-5.0, "-5 to 0 dB"),
        (0.0, "0 to 5 dB"),
        (19.9, "15 to 20 dB"),
        (20.0, "20 dB and above"),
        (np.nan, ""),
        (None, ""),
    ],
)
def test_files_are_grouped_by_snr(snr, label):
    assert snr_group(snr) == label
