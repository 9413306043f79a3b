"""rosecd_jax.audio.fft: the same transforms as jnp.fft, in parts where a mesh divides batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.audio import fft
from rosecd_jax.audio.stft import FrontEnd

AUTO, EXPLICIT = jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit
RFFT = functools.partial(fft.rfft, size=12), functools.partial(jnp.fft.rfft, n=12), np.float32
IRFFT = functools.partial(fft.irfft, size=12), functools.partial(jnp.fft.irfft, n=12), np.complex64
every_transform = pytest.mark.parametrize(
    ("transform", "plain", "dtype"), [RFFT, IRFFT], ids=["rfft", "irfft"]
)


def eight(kind=AUTO, name="data") -> jax.sharding.AbstractMesh:
    return jax.sharding.AbstractMesh((8,), (name,), axis_types=(kind,))


def trace(function, shape, dtype=np.float32, mesh=None) -> str:
    """The jaxpr of a function, with a mesh in context."""
    with jax.sharding.use_abstract_mesh(mesh or jax.sharding.get_abstract_mesh()):
        return str(jax.make_jaxpr(function)(jax.ShapeDtypeStruct(shape, dtype)))


@every_transform
def test_each_device_transforms_its_part(transform, plain, dtype):
    whole = trace(transform, (16, 3, 10), dtype, eight())
    assert "shard_map" in whole
    assert whole.count("[2,3,") >= 2  # the part's input and output
    assert trace(transform, (16, 10), dtype, eight()).count("shard_map") == 1


@every_transform
def test_without_a_mesh_it_is_the_plain_transform(transform, plain, dtype):
    assert trace(transform, (16, 3, 10), dtype) == trace(plain, (16, 3, 10), dtype)


@every_transform
@pytest.mark.parametrize(
    ("shape", "mesh"),
    [((16,), eight()), ((12, 10), eight()), ((16, 10), eight(EXPLICIT)), ((16, 10), eight(name="model"))],
    ids=["one signal", "indivisible", "explicit axis", "other axis"],
)
def test_what_the_mesh_does_not_divide_is_transformed_at_once(transform, plain, dtype, shape, mesh):
    assert trace(transform, shape, dtype, mesh) == trace(plain, shape, dtype, mesh)


def test_inside_shard_map_it_is_the_plain_transform():
    def program(function):
        mapped = jax.shard_map(function, mesh=eight(), in_specs=jax.P("data"), out_specs=jax.P("data"))
        return trace(mapped, (128, 10))

    assert program(RFFT[0]) == program(RFFT[1])


def test_values_and_gradients_with_a_mesh():
    front = FrontEnd(n_fft=62, hop=16)
    waves = np.random.default_rng(0).normal(size=(3, 480)).astype(np.float32)

    @jax.jit
    def measured(waves):
        spectra = front.analyze(waves)
        return spectra, front.synthesize(2 * spectra, 480)

    def loss(waves):
        return jnp.mean(measured(waves)[1] ** 2)

    expected = *measured(waves), jax.grad(loss)(waves), jax.vmap(front.analyze)(waves[:, None])
    with jax.set_mesh(jax.make_mesh((1,), ("data",), axis_types=(AUTO,))):
        assert "shard_map" in str(jax.make_jaxpr(measured)(waves))
        found = *measured(waves), jax.grad(loss)(waves), jax.vmap(front.analyze)(waves[:, None])
    for array, same in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, same, rtol=1e-5, atol=1e-6)
