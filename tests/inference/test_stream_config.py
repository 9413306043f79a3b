"""How a stream is cut into steps: lengths in frames and in milliseconds."""

import dataclasses

import numpy as np
import pytest

from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.inference.stream_step import StreamConfig
from rosecd_jax.models import NCSNppConfig, ScoreModel
from tests.inference.streams import STUDENT


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 0}, "window is 0 frames"),
        ({"hop": 0}, "hop is 0 frames"),
        ({"hop": 1.5}, "whole number"),
        ({"hop": np.float32(2)}, "whole number"),
        ({"fade": True}, "fade is True frames: expected a whole number"),
        ({"fade": np.True_}, "whole number"),
        ({"window": "64"}, "window is '64' frames: expected a whole number"),
        ({"look_ahead": -1}, "of at least 0"),
        ({"fade": 9}, "can't be longer than the hop of 8"),
        ({"look_ahead": 60}, "are 69 frames, the window only 64: widen it"),
        ({"level_decay": -1.0}, "level_decay"),
        ({"level_decay": float("nan")}, "level_decay"),
        ({"level_decay": True}, "level_decay is True dB per second: expected a finite number"),
        ({"level_decay": "slow"}, "level_decay is 'slow' dB per second: expected a finite number"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        StreamConfig(**options)


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_numpys_whole_numbers_are_whole_numbers(kind):
    config = StreamConfig(window=kind(64), hop=kind(4))
    assert config == StreamConfig(window=64, hop=4)
    assert type(config.window) is int  # it may grow: no kind of numpy's, which overflows


def test_lengths_can_be_given_in_milliseconds():
    model = ScoreModel(dataclasses.replace(STUDENT, network=NCSNppConfig(multipliers=(1, 1, 1, 1))))
    config = StreamConfig.from_milliseconds(model, window=250, hop=30, look_ahead=0, fade=8)
    assert config == StreamConfig(window=32, hop=4, look_ahead=0, fade=1)
    assert StreamConfig.from_milliseconds(model, hop=32, fade=0).hop == 4
    assert StreamConfig.from_milliseconds(model) == StreamConfig()
    assert StreamConfig.from_milliseconds(model, hop=0.1, fade=0).hop == 1


def test_the_lengths_that_nobody_gives_are_times_whatever_a_models_frames():
    network = NCSNppConfig(multipliers=(1,) * 7)  # sees multiples of 64 frames
    slow = dataclasses.replace(STUDENT, network=network, front_end=FrontEnd(hop=256))  # of 16 ms
    expected = StreamConfig(window=64, hop=4, look_ahead=4, fade=1)
    assert StreamConfig.from_milliseconds(ScoreModel(slow)) == expected


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ({"hop": float("nan")}, "hop is nan ms"),
        ({"hop": "64"}, "hop is '64': expected a number of ms"),
        ({"hop": 0}, "hop is 0 ms: expected a time above 0"),
        ({"window": 0}, "window is 0 ms"),
        ({"look_ahead": -1}, "look_ahead is -1 ms: expected a time from 0"),
        ({"hop": 1000}, "hop, fade and look-ahead are 1072 ms, the window only 512 ms: widen it"),
        ({"window": 16}, "hop, fade and look-ahead are 136 ms, the window only 16 ms: widen it"),
    ],
)
def test_lengths_in_milliseconds_are_refused_in_milliseconds(lengths, words):
    with pytest.raises(ValueError, match=words):
        StreamConfig.from_milliseconds(ScoreModel(STUDENT), **lengths)
