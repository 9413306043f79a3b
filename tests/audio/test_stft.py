"""rosecd_jax.audio.stft: the authors' numbers, a float64 reference, and what holds for every wave."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from rosecd_jax.audio.stft import FrontEnd, compress, expand, hann_window, istft, stft
from tests.fidelity import CLOSED_FORM, NETWORK
from tests.goldens.packing import golden
from tests.helpers import quick_jit, random_spectrogram, relative_error

FRONT_16K = FrontEnd()
FRONT_48K = FrontEnd(sample_rate=48_000, n_fft=1534, hop=384, exponent=0.667, factor=0.065)
both_front_ends = pytest.mark.parametrize("front", [FRONT_16K, FRONT_48K], ids=["16k", "48k"])
GOLDEN = golden("frontend")
NOISY = golden("speech")["y"][:1]
"""Their spectrogram of the noisy wave, compressed."""


def wave(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.3, size=samples).astype(np.float32)


def reference_stft(signal: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """The definition in float64: [B, samples] -> [B, bins, frames]."""
    padded = np.pad(signal.astype(np.float64), ((0, 0), (n_fft // 2, n_fft // 2)), mode="reflect")
    framed = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)[:, ::hop]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    return np.fft.rfft(framed * window).swapaxes(-1, -2)


@pytest.mark.fidelity
@pytest.mark.parametrize(
    ("quantity", "ours", "theirs"),
    [
        ("window", lambda: hann_window(510), GOLDEN["window"]),
        ("STFT", lambda: stft(GOLDEN["noisy"]), GOLDEN["stft_noisy"]),
        ("compression", lambda: compress(GOLDEN["stft_noisy"]), NOISY),
        ("expansion", lambda: expand(NOISY), GOLDEN["back"]),
        ("wave", lambda: FRONT_16K.synthesize(NOISY, 8064), GOLDEN["wav"]),
    ],
    ids=["window", "STFT", "compression", "expansion", "wave"],
)
def test_the_front_end_agrees_with_the_authors(agree, quantity, ours, theirs):
    agree(f"front end: {quantity}", ours(), theirs, CLOSED_FORM)


@pytest.mark.fidelity
def test_the_front_end_at_48_khz_agrees_with_the_authors(agree):
    arrays = golden("network_ncsnpp_48k")
    agree("48 kHz: spectrogram", FRONT_48K.analyze(arrays["wave"]), arrays["spec"], NETWORK)
    wave = FRONT_48K.synthesize(arrays["spec"], arrays["back"].shape[-1])
    agree("48 kHz: wave", wave, arrays["back"], NETWORK)


@both_front_ends
def test_stft_is_librosas(front):
    """Which is what other code computes features with; its default padding is with zeros."""
    signal = wave(10_000)
    theirs = librosa.stft(signal, n_fft=front.n_fft, hop_length=front.hop, pad_mode="reflect")
    assert relative_error(stft(signal, front.n_fft, front.hop), theirs) < 1e-5


def test_analyze_is_as_close_to_float64_as_the_authors_are():
    # A rounding error d of a bin becomes 0.15 d / (2 √|S|) by compression: next to |S| = 0 the square root
    # amplifies it, so that both float32 programs miss the true value by 1e-5, each on its own side.
    exact = reference_stft(GOLDEN["noisy"], 510, 128)
    exact = 0.15 * np.sqrt(np.abs(exact)) * np.exp(1j * np.angle(exact))
    ours = FRONT_16K.analyze(GOLDEN["noisy"])
    assert relative_error(NOISY, exact) < 1.1e-5
    assert relative_error(ours, exact) < 1.1e-5
    loud = np.abs(exact) > 0.1 * np.abs(exact).max()
    assert relative_error(ours[loud], exact[loud]) < 1e-6


@both_front_ends
def test_stft_is_its_definition_in_float64(front):
    signal = np.stack([wave(5000), wave(5000, seed=1)])
    spectrum = stft(signal, front.n_fft, front.hop)
    assert spectrum.shape == (2, front.bins, front.frames(5000))
    assert relative_error(spectrum, reference_stft(signal, front.n_fft, front.hop)) < 1e-6


@both_front_ends
@pytest.mark.parametrize("edge", [1, 2, "hop-1", "hop", "hop+1", "half", "half+1", "n_fft", "n_fft+1"])
def test_istft_inverts_stft_at_every_edge_of_the_framing(front, edge):
    values = {"hop": front.hop, "half": front.n_fft // 2, "n_fft": front.n_fft}
    assert_inverted(front, edge if isinstance(edge, int) else eval(edge, values))


@both_front_ends
@hypothesis.given(samples=st.integers(1, 1500), seed=st.integers(0, 1000))
@hypothesis.settings(deadline=None, max_examples=8)
def test_istft_inverts_stft_at_any_length(front, samples, seed):
    assert_inverted(front, samples, seed)


def assert_inverted(front, samples, seed=0):
    signal = wave(samples, seed)
    there_and_back = quick_jit(
        lambda w: istft(stft(w, front.n_fft, front.hop), samples, front.n_fft, front.hop)
    )
    np.testing.assert_allclose(there_and_back(signal), signal, atol=1e-6)


@both_front_ends
def test_synthesize_inverts_analyze(front):
    signal = wave(3000)
    assert relative_error(front.synthesize(front.analyze(signal), 3000), signal) < 1e-5


@both_front_ends
def test_a_training_crop_makes_its_frames(front):
    assert front.frames(front.samples(256)) == 256


@pytest.mark.parametrize("valid", [1, 2, 5, 12])
def test_frames_behind_the_valid_ones_count_as_cut_off(valid):
    spectrum = random_spectrogram(2, 256, 12)
    cut = istft(spectrum[..., :valid], 1400)
    np.testing.assert_allclose(istft(spectrum, 1400, valid_frames=jnp.int32(valid)), cut, atol=1e-6)


def test_what_lies_behind_the_last_frame_is_zero():
    signal = istft(random_spectrogram(256, 3), 2000)
    assert signal.shape == (2000,)
    assert not signal[2 * 128 + 255 :].any()


@pytest.mark.parametrize("hop", [128, 171, 256, 340])
def test_no_error_of_a_spectrogram_is_amplified_more_than_fivefold(hop):
    spectrum = random_spectrogram(256, 6)
    framed = np.fft.irfft(spectrum.swapaxes(-1, -2), 510)
    signal = istft(spectrum, 5 * hop + hop - 1, 510, hop)
    assert np.abs(signal).max() < 5 * np.abs(framed).max()
    consistent = istft(stft(wave(5 * hop + hop - 1), 510, hop), 5 * hop, 510, hop)
    np.testing.assert_allclose(consistent, wave(5 * hop + hop - 1)[: 5 * hop], atol=1e-6)


@hypothesis.given(st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 1000))
@hypothesis.settings(deadline=None, max_examples=20)
def test_stft_and_istft_are_linear(a, b, seed):
    one, two = wave(1000, seed), wave(1000, seed + 1)
    scale = abs(a) + abs(b) + 1e-3
    combined = stft(np.float32(a) * one + np.float32(b) * two)
    np.testing.assert_allclose(combined, a * stft(one) + b * stft(two), atol=1e-4 * scale)
    one, two = random_spectrogram(256, 8, seed=seed), random_spectrogram(256, 8, seed=seed + 1)
    combined = istft(np.float32(a) * one + np.float32(b) * two, 896)
    np.testing.assert_allclose(combined, a * istft(one, 896) + b * istft(two, 896), atol=1e-4 * scale)


@both_front_ends
@hypothesis.given(st.floats(1e-6, 1e4), st.integers(0, 1000))
@hypothesis.settings(deadline=None, max_examples=30)
def test_expand_inverts_compress_at_any_level(front, level, seed):
    spectrum = level * random_spectrogram(20, 5, seed=seed)
    spectrum[3] = 0
    compressed = compress(spectrum, front.exponent, front.factor)
    np.testing.assert_allclose(expand(compressed, front.exponent, front.factor), spectrum, rtol=2e-5)


def test_compression_keeps_phases_and_scales_magnitudes():
    spectrum = random_spectrogram(20, 5)
    compressed = np.asarray(compress(spectrum, 0.667, 0.065))
    np.testing.assert_allclose(np.abs(compressed), 0.065 * np.abs(spectrum) ** 0.667, rtol=1e-5)
    np.testing.assert_allclose(np.angle(compressed), np.angle(spectrum), atol=1e-6)


@both_front_ends
@pytest.mark.parametrize(
    "signal", [np.zeros(2000, np.float32), np.r_[wave(1000), np.zeros(1000, np.float32)]]
)
def test_gradients_are_finite_at_silence(front, signal):
    def there(w):
        return jnp.sum(jnp.square(jnp.abs(front.analyze(w) + 0.1)))

    def there_and_back(w):
        return jnp.sum(jnp.square(front.synthesize(front.analyze(w), 2000) - 0.1))

    for function in (there, there_and_back):
        assert np.isfinite(quick_jit(jax.grad(function))(signal)).all()


def test_an_empty_wave_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        stft(np.zeros((2, 0), np.float32))
