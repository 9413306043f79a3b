"""rosecd_jax.audio.formats: bit rates of lossy encodings, and what can't be written."""

import numpy as np
import pytest

from rosecd_jax.audio import io


def sound(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """Noise of varying loudness, limited to 4 kHz."""
    time = np.arange(int(8000 * seconds)) / 8000
    noise = np.random.default_rng(0).normal(0, 0.1, (channels, len(time)))
    return io.resample(noise * np.sin(2 * np.pi * time) ** 2, 8000, rate)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("bit_rate", [1, 8_000, 24_000, 64_000, 100_000, 128_000, 200_000, 320_000, 2e6])
def test_an_mp3_gets_the_bit_rate_and_keeps_its_length(tmp_path, rate, channels, bit_rate):
    wave = sound(2, rate, channels)
    io.write(tmp_path / "a.mp3", wave, rate, bit_rate=bit_rate)
    header = io.info(tmp_path / "a.mp3")
    assert header[:3] == (rate, *wave.shape)
    most = 320_000 if rate >= 32_000 else 160_000 if rate >= 16_000 else 64_000
    assert header.bit_rate >= min(bit_rate, most)
    assert header.bit_rate <= 1.1 * max(1.34 * bit_rate, 64_000)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bit_rate", [1, 6_000, 64_000, 128_000, 2e6])
def test_opus_gets_the_bit_rate(tmp_path, bit_rate, channels):
    io.write(tmp_path / "a.opus", sound(4, 48000, channels), 48000, bit_rate=bit_rate)
    wanted = min(max(bit_rate, 6_000 * channels), 256_000 * channels)
    assert 0.75 * wanted < io.info(tmp_path / "a.opus").bit_rate < 1.1 * wanted + 8_000


def test_vorbis_gets_its_best_quality(tmp_path):
    wave = sound(4, 44100, 2)
    for name, bit_rate in (("usual", 0), ("best", 1)):
        io.write(tmp_path / f"{name}.ogg", wave, 44100, bit_rate=bit_rate)
    errors = [np.square(io.read(tmp_path / f"{name}.ogg").wave - wave).mean() for name in ("usual", "best")]
    assert errors[1] < errors[0] / 10


@pytest.mark.parametrize("suffix", io.FORMATS)
def test_a_file_written_again_as_it_was_keeps_its_bit_rate(tmp_path, suffix):
    io.write(tmp_path / f"a{suffix}", sound(4, 48000, 2), 48000, bit_rate=96_000)
    first = io.read(tmp_path / f"a{suffix}")
    io.write(tmp_path / f"b{suffix}", *first)
    assert 0.9 * first.bit_rate < io.info(tmp_path / f"b{suffix}").bit_rate < 1.3 * first.bit_rate


@pytest.mark.parametrize("suffix", io.FORMATS)
def test_what_fits_is_written(tmp_path, suffix):
    import soundfile

    for subtype in soundfile.available_subtypes(io.FORMATS[suffix]):
        if io.fits(f"a{suffix}", subtype):
            rate = 48000 if subtype == "OPUS" else 8000  # one that an 8-bit VOC can hold
            io.write(tmp_path / f"a{suffix}", sound(0.1, rate), rate, subtype)
            assert io.info(tmp_path / f"a{suffix}").subtype == subtype


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (1, 45454), (2, 44107)])
def test_an_8_bit_voc_keeps_the_rates_that_its_header_can_say(tmp_path, channels, rate):
    io.write(tmp_path / "a.voc", sound(0.1, rate, channels), rate, "PCM_U8")
    assert io.info(tmp_path / "a.voc")[:2] == (rate, channels)


def test_opus_files_hold_opus_only():
    assert all(io.fits(name, "OPUS") for name in ("a.opus", "a.OPUS", "a.ogg"))
    assert not any(io.fits("a.opus", subtype) for subtype in ("VORBIS", "vorbis"))


def test_subtypes_fit_or_not_in_small_letters_too():
    assert io.fits("a.opus", "opus")
    assert not io.fits("a.mp3", "mpeg_layer_ii")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", io.FORMATS)
def test_no_file_is_longer_than_by_its_padding_and_none_shorter(tmp_path, suffix, channels):
    import soundfile

    for subtype in soundfile.available_subtypes(io.FORMATS[suffix]):
        if not io.fits(f"a{suffix}", subtype):
            continue
        rate = 48000 if subtype == "OPUS" else 16000
        try:
            io.refuse_misfit(tmp_path / f"a{suffix}", rate, channels, subtype)
        except io.AudioError:
            continue
        for samples in (1, 2, 159, 160, 505, 506, 1012, 5001, 20_011):
            io.write(tmp_path / f"a{suffix}", sound(2, rate, channels)[:, :samples], rate, subtype)
            header = io.info(tmp_path / f"a{suffix}")
            assert samples <= header.samples <= samples + io.most_padding(header)
            assert samples <= io.read(tmp_path / f"a{suffix}").wave.shape[1]
            if subtype in ("PCM_16", "PCM_24", "FLOAT", "VORBIS", "OPUS", "MPEG_LAYER_III"):
                assert io.most_padding(header) == 0
