"""rosecd_jax.audio.formats: bit rates of lossy encodings, and what can't be written."""

import numpy as np
import pytest

from rosecd_jax.audio import io


def sound(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """Noise whose loudness comes and goes, nothing of it above 4 kHz."""
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
            rate = 48000 if subtype == "OPUS" else 16000
            io.write(tmp_path / f"a{suffix}", sound(0.1, rate), rate, subtype)
            assert io.info(tmp_path / f"a{suffix}").subtype == subtype
