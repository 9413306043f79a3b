"""The Enhancer on every kind of signal that a user may hand it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosecd_jax.audio import io
from rosecd_jax.diffusion import SBVE, Preconditioning, samplers
from rosecd_jax.diffusion.noise import noise_source
from rosecd_jax.diffusion.solvers import langevin_per_item
from rosecd_jax.inference import Enhancer, SamplerConfig
from rosecd_jax.models import ScoreModel
from rosecd_jax.models.enhancement import enhance_spectrogram, reflect_tail
from tests.helpers import quick_jit
from tests.inference.small import STUDENT, speech_like


@pytest.fixture(scope="module")
def student() -> Enhancer:
    model = ScoreModel(STUDENT)
    params = model.init(jax.random.key(0))
    # A fresh network is almost the identity of its skips: random weights make every wire count.
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [p + 0.2 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    return Enhancer(model, jax.tree.unflatten(tree, noisy))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000])
def test_any_rate_keeps_length_and_type(student, rate):
    wave = speech_like(rate // 2 + 7)
    enhanced = student(wave, rate)
    assert enhanced.shape == wave.shape
    assert enhanced.dtype == np.float32
    assert np.isfinite(enhanced).all()
    assert np.abs(enhanced).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("batch_frames", [0, 2048])
@pytest.mark.parametrize("sampler", [SamplerConfig(), SamplerConfig("pc", 2, corrector="langevin")], ids=str)
def test_channels_are_enhanced_each_by_itself(student, batch_frames, sampler):
    enhancer = dataclasses.replace(student, batch_frames=batch_frames, sampler=sampler)
    waves = np.stack([speech_like(5000, seed) for seed in range(6)])
    enhanced = enhancer(waves, 16_000)
    assert enhanced.shape == (6, 5000)
    changed = waves.copy()
    changed[3] *= -0.5
    again = enhancer(changed, 16_000)
    others = [0, 1, 2, 4, 5]
    np.testing.assert_array_equal(again[others], enhanced[others])
    assert np.abs(again[3] - enhanced[3]).max() > 0


def test_a_signal_alone_does_not_fill_an_accelerators_batch(student):
    enhancer = dataclasses.replace(student, batch_frames=4096)
    assert [enhancer.waves.rows_alone(256, channels) for channels in (1, 2, 3, 6, 16, 17)] == [
        1,
        2,
        4,
        8,
        16,
        16,
    ]
    enhancer.prepare(5000, 16_000)
    enhancer(speech_like(5000), 16_000)
    assert enhancer.programs.compiled == 1


def test_silence_stays_silence(student):
    np.testing.assert_array_equal(student(np.zeros(4000), 16_000), np.zeros(4000, np.float32))


def test_a_silent_channel_does_not_silence_the_others(student):
    enhanced = student(np.stack([np.zeros(4000), speech_like(4000)]), 16_000)
    assert not enhanced[0].any()
    assert enhanced[1].any()


@pytest.mark.parametrize("samples", [1, 2, 127, 128, 255, 256, 8191, 8192, 8193])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_the_shortest_waves_work(student, samples, rate):
    enhanced = student(speech_like(samples), rate)
    assert enhanced.shape == (samples,)
    assert np.isfinite(enhanced).all()


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        (np.zeros(0), "not empty"),
        (np.zeros((2, 0)), "not empty"),
        (np.zeros((1, 2, 3)), r"\[channels, samples\]"),
        (np.float32(1.0), r"\[samples\]"),
        (np.zeros((4000, 2)), "transpose it"),
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, np.inf]), "infinite"),
        (np.zeros(9, np.complex64), "complex"),
    ],
)
def test_a_wave_that_makes_no_sense_is_refused(student, wave, words):
    with pytest.raises(ValueError, match=words):
        student(wave, 16_000)


def test_the_same_seed_gives_the_same_result_and_another_does_not(student):
    wave = speech_like(6000)
    np.testing.assert_array_equal(student(wave, 16_000, seed=3), student(wave, 16_000, seed=3))
    assert np.abs(student(wave, 16_000, seed=3) - student(wave, 16_000, seed=4)).max() > 1e-4
    np.testing.assert_array_equal(student(wave, 16_000, seed=-7), student(wave, 16_000, seed=2**32 - 7))
    for kind in (np.int8, np.int32, np.uint32):
        np.testing.assert_array_equal(student(wave, 16_000, seed=3), student(wave, 16_000, seed=kind(3)))
    with pytest.raises(TypeError, match="float"):
        student(wave, 16_000, seed=1.5)


def test_a_rate_may_come_as_any_kind_of_whole_number(student):
    wave = speech_like(100_000)
    expected = student(wave, 48_000)
    for rate in (48_000.0, np.int32(48_000)):
        np.testing.assert_array_equal(student(wave, rate), expected)


def test_loudness_is_carried_through(student):
    wave = speech_like(6000)
    quiet = student(wave / 64, 16_000)  # a power of two: exact
    np.testing.assert_allclose(64 * quiet, student(wave, 16_000), atol=1e-6)


def test_equals_the_inference_of_the_papers_step_by_step(student):
    """Normalize, STFT, compress, pad by reflection, sample, cut, expand, inverse STFT, multiply back."""
    wave = speech_like(9_000)
    student = dataclasses.replace(student, buckets=())
    front, model = student.model.front_end, student.model
    peak = np.abs(wave).max()
    y = front.analyze(jnp.asarray(wave / peak))[None]
    frames = y.shape[-1]
    y = jnp.pad(y, [(0, 0), (0, 0), (0, -frames % 64)], mode="reflect")
    keys = jax.random.fold_in(jax.random.key(0), 0)[None]
    noise = noise_source(keys, 256, y.shape[-1])
    x_T = y + model.sde.std(jnp.float32(1.0)) * noise(0)
    x = quick_jit(model.denoise)(student.params, x_T, y, jnp.ones(1))[..., :frames]
    expected = peak * front.synthesize(x, wave.size)[0]
    np.testing.assert_allclose(student(wave, 16_000), expected, atol=2e-5 * peak)


def test_one_program_serves_all_lengths_of_a_bucket(student):
    enhancer = dataclasses.replace(student)
    for samples in (3000, 5000, 8000):
        enhancer(speech_like(samples), 16_000)
    assert enhancer.programs.compiled == 1


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(0, 20))
def test_reflect_tail_is_numpys_reflection_then_zeros(length, most):
    x = np.arange(1.0, 13.0, dtype=np.float32)
    reach = min(most, length - 1, 12 - length)
    expected = np.zeros(12, np.float32)
    expected[: length + reach] = np.pad(x[:length], (0, reach), mode="reflect")
    np.testing.assert_array_equal(reflect_tail(jnp.asarray(x), jnp.int32(length), most), expected)


def test_roles_choose_their_samplers():
    teacher = ScoreModel(dataclasses.replace(STUDENT, role="teacher", preconditioning=Preconditioning()))
    assert SamplerConfig().resolve(teacher) == SamplerConfig("pc", 30, 0.5)
    assert SamplerConfig().resolve(ScoreModel(STUDENT)) == SamplerConfig("consistency", 1, 0.5)
    assert SamplerConfig("pc", 5).resolve(ScoreModel(STUDENT)) == SamplerConfig("pc", 5, 0.5)
    with pytest.raises(ValueError, match="sampler"):
        SamplerConfig("euler")  # type: ignore[arg-type]


BRIDGE = dataclasses.replace(
    STUDENT, role="teacher", sde=SBVE(), preconditioning=Preconditioning("1", "1", "0")
)


def test_a_bridge_has_its_own_samplers():
    bridge = ScoreModel(BRIDGE)
    assert SamplerConfig().resolve(bridge) == SamplerConfig("bridge", 50, 0.5)
    assert SamplerConfig("bridge-sde", 5).resolve(bridge) == SamplerConfig("bridge-sde", 5, 0.5)
    distilled = ScoreModel(dataclasses.replace(BRIDGE, role="student"))
    assert SamplerConfig().resolve(distilled) == SamplerConfig("consistency", 1, 0.5)
    with pytest.raises(ValueError, match="3 consistency steps: a bridge's student runs one"):
        SamplerConfig("consistency", 3).resolve(distilled)
    with pytest.raises(ValueError, match="'pc' doesn't go with this model's process; try 'bridge'"):
        SamplerConfig("pc").resolve(bridge)
    with pytest.raises(ValueError, match="'bridge' doesn't go with this model's process; try 'pc'"):
        SamplerConfig("bridge").resolve(ScoreModel(STUDENT))
    with pytest.raises(ValueError, match="corrector is 'ald', expected one of "):
        SamplerConfig(corrector="ald")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="snr is nan, it has to be a number of at least 0"):
        SamplerConfig(snr=float("nan"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SamplerConfig("consistency", 3), lambda m, y, z: samplers.consistency(m.denoise, m.sde, y, z, 3)),
        (SamplerConfig("pc", 2), lambda m, y, z: samplers.predictor_corrector(m.score, m.sde, y, z, 2)),
        (
            SamplerConfig("pc", 2, 0.3, "langevin"),
            lambda m, y, z: samplers.predictor_corrector(m.score, m.sde, y, z, 2, 0.3, langevin_per_item),
        ),
        (SamplerConfig("predictor", 2), lambda m, y, z: samplers.predictor_only(m.score, m.sde, y, z, 2)),
        (SamplerConfig("ode", 2), lambda m, y, z: samplers.probability_flow(m.score, m.sde, y, z, 2)),
        (
            SamplerConfig("bridge", 2),
            lambda m, y, z: samplers.bridge_probability_flow(m.denoise, m.sde, y, 2),
        ),
        (
            SamplerConfig("bridge-sde", 2),
            lambda m, y, z: samplers.bridge_diffusion(m.denoise, m.sde, y, z, 2),
        ),
    ],
    ids=lambda value: f"{value.sampler}-{value.corrector}" if isinstance(value, SamplerConfig) else "",
)
def test_every_sampler_is_the_one_of_its_name(config, expected):
    class Linear(ScoreModel):
        def raw(self, params, x_t, y, t):
            return params * x_t - 0.25j * y * t[:, None, None]

    class Bound(Linear):
        """The same with its parameters."""

        def denoise(self, x_t, y, t):  # type: ignore[override]
            return Linear.denoise(self, 0.5, x_t, y, t)

        def score(self, x_t, y, t):  # type: ignore[override]
            return Linear.score(self, 0.5, x_t, y, t)

    model_config = BRIDGE if config.sampler.startswith("bridge") else STUDENT
    y = jnp.asarray(speech_like(2 * 8 * 5).reshape(2, 8, 5) + 1j)
    keys = jax.random.split(jax.random.key(0), 2)
    x = enhance_spectrogram(Linear(model_config), config, 0.5, y, keys)
    np.testing.assert_allclose(x, expected(Bound(model_config), y, noise_source(keys, 8, 5)), rtol=1e-5)


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16")])
def test_a_file_keeps_rate_length_channels_and_subtype(student, tmp_path, suffix, subtype):
    source, target = tmp_path / f"in.{suffix}", tmp_path / "deep" / f"out.{suffix}"
    io.write(source, np.stack([speech_like(4001), speech_like(4001, 1)]), 22_050, subtype=subtype)
    student.enhance_file(source, target)
    audio = io.read(target)
    assert audio.wave.shape == (2, 4001)
    assert (audio.sample_rate, audio.subtype) == (22_050, subtype)


def test_a_folder_is_enhanced_but_for_the_files_that_cannot_be_read(student, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    io.write(source / "a.wav", speech_like(3000), 16_000)
    io.write(source / "deep" / "b.flac", speech_like(3000), 16_000)
    (source / "broken.wav").write_bytes(b"RIFF, but nothing more")
    (source / "empty.wav").touch()
    (source / "notes.txt").write_text("not audio")
    reports = list(student.enhance_folder(source, target))
    errors = {report.source.name: report.error for report in reports}
    assert sorted(errors) == ["a.wav", "b.flac", "broken.wav", "empty.wav"]
    assert not errors["a.wav"]
    assert not errors["b.flac"]
    assert "broken.wav" in errors["broken.wav"]
    assert "empty" in errors["empty.wav"]
    written = sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file())
    assert written == ["a.wav", "deep/b.flac"]


@pytest.mark.slow
def test_an_enhancer_streams(student):
    wave = speech_like(20_000)
    stream = student.stream(seed=5)
    together = np.concatenate([stream.push(wave), stream.flush()])[stream.latency :]
    assert together.shape == wave.shape
    again = student.stream(seed=5)
    np.testing.assert_array_equal(
        np.concatenate([again.push(wave), again.flush()])[again.latency :], together
    )
    assert np.corrcoef(together, student(wave, 16_000, seed=5))[0, 1] > 0.5


def test_a_rate_in_place_of_a_streams_config_is_refused(student):
    with pytest.raises(TypeError, match=r"stream\(16000\): expected a StreamConfig"):
        student.stream(16_000)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [2, 3, 6])
@pytest.mark.parametrize("seconds", [0.5, 40])
def test_equal_channels_stay_equal_and_equal_to_a_mono_signal(student, seconds, channels, tmp_path):
    wave = speech_like(round(seconds * 16_000))
    mono = student(wave, 16_000, seed=3)
    for enhanced in student(np.stack([wave] * channels), 16_000, seed=3):
        np.testing.assert_array_equal(enhanced, mono)
    io.write(tmp_path / "in.wav", np.stack([wave] * channels), 16_000, subtype="FLOAT")
    student.enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", seed=3)
    left, *others = io.read(tmp_path / "out.wav").wave
    for other in others:
        np.testing.assert_array_equal(left, other)


def test_swapped_channels_have_swapped_results(student):
    pair = np.stack([speech_like(9_000), 0.5 * np.roll(speech_like(9_000), 300)])
    np.testing.assert_array_equal(student(pair[::-1], 16_000), student(pair, 16_000)[::-1])


@pytest.mark.parametrize("share", [-0.1, 0.03, 0.1])
def test_an_offset_makes_no_difference(student, share):
    wave = speech_like(20_000)
    wave = wave - wave.mean()
    shifted = wave + np.float32(share * np.abs(wave).max())
    expected = student(wave, 16_000)
    assert np.abs(student(shifted, 16_000) - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("seconds", [4, 40])
@pytest.mark.parametrize("places", [[16_000], [800, 8_000, 16_000, 24_000, 56_000]])
def test_loud_events_leave_the_rest_as_it_was(student, seconds, places, tmp_path):
    wave = speech_like(16_000 * seconds)
    loud = wave.copy()
    loud[places] = 30 * np.abs(wave).max()
    far = slice(32_000, 48_000)
    expected, enhanced = student(wave, 16_000)[far], student(loud, 16_000)[far]
    # Not the same, for GroupNorm sees all of a signal.
    assert np.linalg.norm(enhanced - expected) < 0.005 * np.linalg.norm(expected)
    io.write(tmp_path / "in.wav", loud, 16_000, subtype="FLOAT")
    student.enhance_file(tmp_path / "in.wav", tmp_path / "out.wav")
    written = io.read(tmp_path / "out.wav").wave[0][far]
    assert np.linalg.norm(written - enhanced) < 1e-3 * np.linalg.norm(enhanced)


def test_an_enhancer_cannot_be_changed(student):
    with pytest.raises(dataclasses.FrozenInstanceError):
        student.limit = 1e-9
    assert dataclasses.replace(student, limit=10.0).waves.limit == 10


def test_options_that_make_no_sense_are_refused(student, tmp_path):
    for limit in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="limit is"):
            dataclasses.replace(student, limit=limit)
    for rate in (0, 999, 22_050.5, 768_001, float("inf"), float("nan"), "16000", None):
        with pytest.raises(ValueError, match=f"the sample rate is {rate!r} Hz"):
            student(speech_like(10), rate)
    with pytest.raises(ValueError, match="existing is 'ask'"):
        student.enhance_folder(tmp_path, tmp_path / "out", existing="ask")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_frames": 2.5}, "batch_frames is 2.5, it has to be a whole number or None"),
        ({"batch_frames": -1}, "batch_frames is -1, it has to be a number of at least 0"),
        ({"buckets": (-5, 0)}, r"buckets is \(-5, 0\), it has to be a tuple of numbers of at least 1"),
        ({"buckets": (256.5,)}, r"buckets is \(256.5,\), it has to be a tuple of whole numbers"),
        ({"buckets": "256"}, "buckets is '256', it has to be a tuple of whole numbers"),
        ({"buckets": None}, "buckets is None, it has to be a tuple of whole numbers"),
        (
            {"limit": 1e-9},
            "limit is 1e-09 s, shorter than one window of the model's STFT, 0.031875 s; set some",
        ),
        ({"limit": "30"}, "limit is '30', it has to be a number"),
        ({"sampler": "pc"}, "sampler is 'pc', it has to be of class SamplerConfig"),
        ({"model": STUDENT}, "model is .*, it has to be of class ScoreModel"),
        ({"strength": "all"}, "strength is 'all', it has to be a number"),
        ({"attenuation_limit": "12"}, "attenuation_limit is '12', it has to be a number or None"),
    ],
    ids=str,
)
def test_attributes_that_make_no_sense_are_refused_where_an_enhancer_is_made(student, options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        dataclasses.replace(student, **options)


def test_buckets_may_stand_in_any_order(student):
    assert dataclasses.replace(student, buckets=[512, 256, 512]).buckets == (256, 512)
    assert dataclasses.replace(student, buckets=()).waves.frames(16_000) == 128


def test_64_bits_elsewhere_in_a_program_change_nothing(student):
    wave = speech_like(5000)
    expected = student(wave, 16_000)
    with jax.enable_x64(True):
        assert ScoreModel(STUDENT).init(jax.random.key(0))
        np.testing.assert_array_equal(dataclasses.replace(student)(wave, 16_000), expected)
