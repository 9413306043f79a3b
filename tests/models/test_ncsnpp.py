"""rosecd_jax.models.ncsnpp: the authors' network, wire by wire, and the size of the published one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.conversion import load_torch_checkpoint, params_from_torch
from rosecd_jax.models import ModelConfig, NCSNpp, NCSNppConfig, ScoreModel, convolution, layers
from rosecd_jax.models.ncsnpp import NCSNPP, NCSNPP_48K
from tests.fidelity import NETWORK
from tests.goldens import packing
from tests.goldens.packing import golden
from tests.helpers import TINY, compile_model, quick_jit, random_params, random_spectrogram, relative_error


@pytest.mark.fidelity
def test_the_network_agrees_with_the_authors(agree, networks, teacher_program, speech):
    arrays = golden("network")
    raw = teacher_program(networks["teacher"], arrays["x_t"], speech.y[1:], arrays["t"])["raw"]
    agree("ncsnpp_v2: raw_teacher", raw, arrays["raw_teacher"], NETWORK)


@pytest.mark.fidelity
@pytest.mark.parametrize(
    ("name", "published"), [("ncsnpp", NCSNPP), ("ncsnpp_48k", NCSNPP_48K)], ids=["16 kHz", "48 kHz"]
)
def test_the_networks_of_sgmse_plus_and_their_checkpoints_agree_with_the_authors(
    agree, torch_checkpoint, name, published
):
    arrays = golden(f"network_{name}")
    model, weights = load_torch_checkpoint(torch_checkpoint(name))
    size = dataclasses.replace(published, channels=8, blocks=1)
    assert model.config.network == size
    program = compile_model(model, "score")
    params = {name: params_from_torch(packing.network(name)[0], size), f"{name}.ckpt": weights["raw"]}
    for quantity, tree in params.items():
        score = program(tree, arrays["x_t"], arrays["y"], arrays["t"])["score"]
        agree(f"{quantity}: score", score, arrays["score"], NETWORK)


@pytest.mark.parametrize("division", ["none", "before", "after"])
def test_where_the_output_is_divided_by_time(division):
    """Before the last convolution its bias is spared, after it the bias is divided too."""
    sizes = {"channels": 4, "multipliers": (1, 1), "blocks": 1, "pyramids": False}
    model, plain = (
        ScoreModel(ModelConfig(network=NCSNppConfig(**sizes, time_division=d))) for d in (division, "none")
    )
    params, t = random_params(model), np.float32([0.5, 0.25])
    x, y = random_spectrogram(2, 256, 4), random_spectrogram(2, 256, 4, seed=1)
    divided, whole = (quick_jit(m.raw)(params, x, y, t) for m in (model, plain))
    bias = jax.lax.complex(*params["output"]["bias"]) if division == "before" else 0
    by = 1 if division == "none" else t[:, None, None]
    assert relative_error(divided, (whole - bias) / by + bias) < 1e-5


def test_without_pyramids_the_last_level_alone_gives_the_output():
    size = NCSNppConfig(channels=4, multipliers=(1, 1, 1), blocks=1, pyramids=False)
    params = jax.eval_shape(ScoreModel(ModelConfig(network=size)).init, jax.random.key(0))
    assert {name for name in params if "pyramid" in name} == {"up_0_pyramid", "up_0_pyramid_norm"}


def test_the_published_network_has_65_6_million_parameters_and_533_8_gflop(monkeypatch):
    monkeypatch.setattr(convolution, "LEAST_CHANNELS", 1_000)  # count the products of plain convolutions
    model = ScoreModel()
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 65_590_822
    spectrogram = jax.ShapeDtypeStruct((1, 256, 256), jnp.complex64)
    lowered = jax.jit(model.raw).lower(
        params, spectrogram, spectrogram, jax.ShapeDtypeStruct((1,), jnp.float32)
    )
    assert lowered.cost_analysis()["flops"] == pytest.approx(533.8e9, rel=0.02)


@pytest.mark.parametrize(("bins", "frames"), [(255, 64), (512, 64), (256, 3), (256, 65)])
def test_spectrograms_that_do_not_fit_are_refused(bins, frames):
    spectrogram = random_spectrogram(1, bins, frames)
    with pytest.raises(ValueError, match=f"{bins} bins and {frames} frames: the network needs 256 bins"):
        TINY.raw(random_params(TINY), spectrogram, spectrogram, np.ones(1, np.float32))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bins": 200}, r"network\.bins is 200: 7 levels"),
        ({"multipliers": ()}, r"network\.multipliers is \(\)"),
        ({"multipliers": (1, 0)}, r"network\.multipliers is \(1, 0\)"),
        (
            {"attention_heights": (0,)},
            r"network\.attention_heights is \(0,\), it has to be a tuple of numbers of at least 1",
        ),
        ({"attention_heights": ("16",)}, r"network\.attention_heights .* a tuple of whole numbers"),
        ({"channels": 2}, r"network\.channels is 2: a GroupNorm can't divide 2 channels into 0 groups"),
        ({"channels": 10}, r"network\.channels is 10: .* 30 channels into 7 groups; a multiple of 32 always"),
        ({"channels": 132}, r"network\.channels is 132: .* 132 channels into 32 groups"),
        ({"channels": 100, "multipliers": (1, 2)}, r"network\.channels is 100: .* 200 channels into 32"),
    ],
)
def test_impossible_sizes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        NCSNppConfig(**fields)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize(
    ("channels", "multipliers"), [(4, (1,)), (20, (2, 1)), (32, (3, 1, 2)), (60, (1, 1)), (160, (1, 2))]
)
def test_channels_that_a_group_norm_can_divide_are_known(monkeypatch, channels, multipliers, blocks):
    met = set()
    monkeypatch.setattr(layers, "group_count", lambda count: met.add(count) or min(count // 4, 32))
    config = NCSNppConfig(channels=channels, multipliers=multipliers, blocks=blocks, bins=16)
    inputs = jnp.zeros((1, 16, config.stride, 4)), jnp.ones(1)
    jax.eval_shape(NCSNpp(config).init, jax.random.key(0), *inputs)
    assert met == config.normalized_widths


def test_each_level_halves_the_frequency_axis():
    config = NCSNppConfig()
    assert config.heights == (256, 128, 64, 32, 16, 8, 4)
    assert config.stride == 64


@pytest.mark.parametrize("heights", [(), (128,), (256, 64)])
def test_attention_stands_at_the_levels_asked_for_and_in_the_bottleneck(heights):
    config = NCSNppConfig(channels=4, multipliers=(1, 1, 2), blocks=1, attention_heights=heights)
    params = jax.eval_shape(ScoreModel(ModelConfig(network=config)).init, jax.random.key(0))
    levels = [config.heights.index(height) for height in heights]
    expected = {"middle_attention"} | {f"down_{i}_attention_0" for i in levels}
    assert {name for name in params if "attention" in name} == expected | {
        f"up_{i}_attention" for i in levels
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_and_result_are_float32_whatever_it_computes_in(dtype):
    network = NCSNpp(NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1, dtype=dtype))
    x, t = jax.ShapeDtypeStruct((2, 256, 8, 4), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)
    result, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), x, t)
    assert (result.shape, result.dtype) == ((2, 256, 8, 2), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_rematerialisation_changes_nothing_but_what_is_kept():
    network = NCSNppConfig(channels=4, multipliers=(1, 1, 1, 1), blocks=1, attention_heights=())
    plain, saving = (
        ScoreModel(ModelConfig(network=dataclasses.replace(network, remat=remat))) for remat in (False, True)
    )
    params = random_params(plain)
    x, y = random_spectrogram(1, 256, 8), random_spectrogram(1, 256, 8, seed=1)
    t = np.float32([0.5])

    def loss_of(model):
        return lambda params: jnp.sum(jnp.abs(model.raw(params, x, y, t)) ** 2)

    expected, actual = (quick_jit(jax.value_and_grad(loss_of(model)))(params) for model in (plain, saving))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), actual, expected)
    longer = jax.ShapeDtypeStruct((1, 256, 32), jnp.complex64)

    def kept(model):
        residuals = jax.eval_shape(lambda p, x, y: jax.vjp(model.raw, p, x, y, t)[1], params, longer, longer)
        weights = sum(leaf.size for leaf in jax.tree.leaves(params))
        return sum(leaf.size for leaf in jax.tree.leaves(residuals)) - weights

    assert kept(saving) < 0.25 * kept(plain)
