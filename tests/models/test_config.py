"""rosecd_jax.config: frozen dataclasses <-> JSON values."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from rosecd_jax.audio import FrontEnd
from rosecd_jax.config import check_fields, difference, from_dict, to_dict
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.data.mixing import MixConfig
from rosecd_jax.diffusion import OUVE, SBVE, Preconditioning
from rosecd_jax.losses import (
    ConsistencyTrainingConfig,
    DataPredictionConfig,
    DenoiserConfig,
    DistillationConfig,
)
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.training import TrainConfig


@dataclasses.dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (1, 2)
    rate: float = 0.5


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str = "a"
    on: bool = False
    kind: Literal["x", "y"] = "x"
    limit: int | None = None
    inner: Inner = Inner()


@dataclasses.dataclass(frozen=True)
class Numbers:
    any: float = 0.0
    pair: tuple[float, float] = (0.0, 1.0)
    limit: int | None = None

    def __post_init__(self):
        check_fields(self, "numbers.")


NAN, INFINITY = float("nan"), float("inf")
CONFIGS = [
    Outer(),
    Outer("b", True, "y", 3, Inner((), 2.0)),
    ModelConfig(),
    ModelConfig(
        role="student",
        sde=OUVE(gamma=2.0, steps=50),
        front_end=FrontEnd(n_fft=1534, hop=384),
        preconditioning=Preconditioning(c_in="1"),
        network=NCSNppConfig(channels=16, multipliers=(1, 2), bins=768),
    ),
    ModelConfig(sde=SBVE(k=2.0, steps=10)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_a_config_survives_json(config):
    assert from_dict(type(config), json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        (NCSNppConfig, "network.time_division", "befor"),
        (NCSNppConfig, "network.dtype", "float16"),
        (Preconditioning, "preconditioning.c_in", "emd"),
        (DistillationConfig, "distillation.solver", "rk4"),
        (DistillationConfig, "distillation.trajectory", "none"),
        (ConsistencyTrainingConfig, "consistency_training.weighting", "unform"),
        (DenoiserConfig, "denoiser.weighting", "emd"),
        (TrainConfig, "objective", "scor"),
        (TrainConfig, "sharding", "ddp"),
    ],
)
def test_a_misspelt_choice_is_refused_where_a_config_is_made(make, field, value):
    with pytest.raises(ValueError, match=rf"^{field} is '{value}', expected one of \('"):
        make(**{field.rpartition(".")[2]: value})


@pytest.mark.parametrize(
    ("make", "field", "values"),
    [
        (OUVE, "sde.gamma", (0.0, -1.0, NAN, INFINITY)),
        (OUVE, "sde.sigma_min", (0.0, -0.1, NAN)),
        (OUVE, "sde.sigma_max", (0.05, 0.01, NAN, INFINITY)),
        (OUVE, "sde.t_eps", (0.0, 1.0, NAN)),
        (OUVE, "sde.steps", (0,)),
        (SBVE, "sde.k", (1.0, 0.5, NAN, INFINITY)),
        (SBVE, "sde.c", (0.0, NAN)),
        (SBVE, "sde.eps", (0.0, NAN)),
        (SBVE, "sde.t_eps", (0.0, 1.0, NAN)),
        (SBVE, "sde.steps", (0,)),
        (Preconditioning, "preconditioning.sigma_data", (0.0, NAN)),
        (DistillationConfig, "distillation.steps", (1,)),
        (DistillationConfig, "distillation.snr", (-0.5, NAN)),
        (DistillationConfig, "distillation.consistency_weight", (-1.0, NAN)),
        (DistillationConfig, "distillation.pesq_weight", (-1.0, INFINITY)),
        (DistillationConfig, "distillation.si_sdr_weight", (-1.0, NAN)),
        (ConsistencyTrainingConfig, "consistency_training.steps", (0,)),
        (ConsistencyTrainingConfig, "consistency_training.consistency_weight", (-1.0, NAN)),
        (ConsistencyTrainingConfig, "consistency_training.pesq_weight", (-1.0, NAN)),
        (ConsistencyTrainingConfig, "consistency_training.si_sdr_weight", (-1.0, NAN)),
        (DataPredictionConfig, "data_prediction.l1_weight", (-1.0, NAN)),
        (DataPredictionConfig, "data_prediction.pesq_weight", (-1.0, NAN)),
        (NCSNppConfig, "network.blocks", (0,)),
        (NCSNppConfig, "network.channels", (0, -4)),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_where_a_config_is_made(make, field, values):
    for value in values:
        bound = r"(a number of at least|a number above|above) (\d|sde\.sigma_min)"
        words = rf"^{field} is {value}, it has to be {bound}"
        with pytest.raises(ValueError, match=words):
            make(**{field.rpartition(".")[2]: value})


@pytest.mark.parametrize(
    ("make", "field", "value", "wanted"),
    [
        (TrainConfig, "data", None, "of class LoaderConfig"),
        (TrainConfig, "model", 3, "of class ModelConfig"),
        (TrainConfig, "model", ModelConfig, "of class ModelConfig"),
        (TrainConfig, "distillation", ConsistencyTrainingConfig(), "of class DistillationConfig"),
        (
            TrainConfig,
            "data",
            {"frames": 64},
            r"of class LoaderConfig \(config\.from_dict converts a dict\)",
        ),
        (TrainConfig, "teacher", Path("runs/teacher"), "a string"),
        (TrainConfig, "resume_override", 1, "True or False"),
        (TrainConfig, "steps", 2.5, "a whole number"),
        (ModelConfig, "model.network", "ncsnpp", "of class NCSNppConfig"),
        (ModelConfig, "model.sde", "ouve", "of class OUVE or of class SBVE"),
        (ScoreModel, "ScoreModel.config", TrainConfig(), "of class ModelConfig"),
        (LoaderConfig, "data.mix", None, "of class MixConfig"),
        (LoaderConfig, "data.path", None, "a string"),
        (MixConfig, "mix.snr", None, "a tuple of 2 numbers"),
        (MixConfig, "mix.snr", (0.0,), "a tuple of 2 numbers"),
        (MixConfig, "mix.snr", "ab", "a tuple of 2 numbers"),
        (NCSNppConfig, "network.multipliers", 3, "a tuple of whole numbers"),
        (NCSNppConfig, "network.multipliers", (1, 1.5), "a tuple of whole numbers"),
        (NCSNppConfig, "network.remat", "no", "True or False"),
        (NCSNppConfig, "network.attention_heights", (16.0,), "a tuple of whole numbers"),
        (NCSNppConfig, "network.attention_heights", (16, 0), "a tuple of numbers of at least 1"),
        (NCSNppConfig, "network.attention_heights", (-16,), "a tuple of numbers of at least 1"),
        (Numbers, "numbers.any", NAN, "a number other than NaN"),
        (Numbers, "numbers.any", np.float32(NAN), "a number other than NaN"),
        (Numbers, "numbers.pair", (0.0, NAN), "a tuple of numbers other than NaN"),
        (Numbers, "numbers.limit", 0.5, "a whole number or None"),
    ],
)
def test_a_value_of_another_kind_is_refused_where_a_config_is_made(make, field, value, wanted):
    with pytest.raises(ValueError, match=rf"^{field} is .*, it has to be {wanted}$"):
        make(**{field.rpartition(".")[2]: value})


def test_a_list_becomes_the_tuple_that_a_config_wants():
    network = NCSNppConfig(multipliers=[1, 1], attention_heights=range(64, 65))
    assert network == NCSNppConfig(multipliers=(1, 1), attention_heights=(64,))
    assert hash(network)


def test_a_number_of_numpys_survives_json():
    config = NCSNppConfig(channels=np.int64(64), fourier_scale=np.float32(2.0))
    assert from_dict(NCSNppConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_a_process_is_told_by_its_kind():
    assert from_dict(ModelConfig, {"sde": {"kind": "sbve", "k": 3.0}}).sde == SBVE(k=3.0)
    assert from_dict(ModelConfig, {"sde": SBVE()}).sde == SBVE()
    assert to_dict(ModelConfig(sde=SBVE()))["sde"]["kind"] == "sbve"


def test_a_config_from_before_there_were_two_processes_means_the_first():
    stored = to_dict(ModelConfig(sde=OUVE(gamma=2.0)))
    del stored["sde"]["kind"]
    assert from_dict(ModelConfig, stored).sde == OUVE(gamma=2.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sde": {"kind": "ve"}}, r"config\.sde\.kind is 've', expected one of \('ouve', 'sbve'\)"),
        ({"sde": {"kind": "sbve", "gamma": 1.0}}, r"config\.sde has no field 'gamma'; it has k, c"),
        ({"sde": 3}, r"config\.sde is 3, expected the fields of OUVE"),
    ],
)
def test_a_process_that_does_not_fit_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(ModelConfig, values)


def test_fields_left_out_keep_their_defaults():
    assert from_dict(Outer, {}) == Outer()
    assert from_dict(Outer, {"inner": {"rate": 2.0}}) == Outer(inner=Inner(rate=2.0))


@pytest.mark.parametrize("value", [1e300, -1e39, np.float64(3.5e38), 10**40])
def test_a_number_that_float32_does_not_hold_is_refused(value):
    for fields in ({"any": value}, {"pair": (0.0, value)}):
        with pytest.raises(ValueError, match=r"numbers\.\w+ is .*that float32 holds, up to 3\.4e\+38"):
            Numbers(**fields)
    assert Numbers(any=3e38, pair=(0.0, INFINITY)).pair[1] == INFINITY
    assert Numbers(limit=10**9).limit == 10**9


def test_a_whole_number_will_do_for_a_float():
    rate = from_dict(Inner, {"rate": 2}).rate
    assert rate == 2.0
    assert isinstance(rate, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nme": "b"}, r"config has no field 'nme'; it has name, on, kind, limit, inner"),
        ({"inner": {"size": 1}}, r"config\.inner has no field 'size'"),
        ({"name": 3}, r"config\.name is 3, expected str"),
        ({"on": 1}, r"config\.on is 1, expected bool"),
        ({"kind": "z"}, r"config\.kind is 'z', expected one of \('x', 'y'\)"),
        ({"limit": "many"}, r"config\.limit is 'many', expected int"),
        ([1], r"config is \[1\], expected the fields of Outer"),
        ({"inner": 5}, r"config\.inner is 5, expected the fields of Inner"),
        ({"inner": {"sizes": 5}}, r"config\.inner\.sizes is 5, expected a sequence"),
        ({"inner": {"sizes": [1, "two"]}}, r"config\.inner\.sizes is 'two', expected int"),
        ({"inner": {"rate": "fast"}}, r"config\.inner\.rate is 'fast', expected float"),
        ({"inner": {"rate": True}}, r"config\.inner\.rate is True, expected float"),
    ],
)
def test_errors_name_the_field_and_what_it_expects(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(Outer, values)


def test_difference_lists_the_fields_that_differ():
    one, two = to_dict(Outer()), to_dict(Outer("b", inner=Inner(rate=1.0)))
    assert difference(one, two) == ["inner.rate: 0.5 -> 1.0", "name: 'a' -> 'b'"]
    assert difference(one, one) == []


def test_difference_lists_fields_that_one_side_lacks():
    assert difference({"a": 1}, {"b": {"c": 2}}) == ["a: 1 -> None", "b: None -> {'c': 2}"]
