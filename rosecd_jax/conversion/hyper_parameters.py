"""Conversion of the authors' hyper-parameters to and from our model config."""

import dataclasses
import difflib
import re
from collections.abc import Mapping
from typing import Any

from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.conversion.relatives import SUPPORTED, relative
from rosecd_jax.diffusion.preconditioning import Preconditioning
from rosecd_jax.diffusion.sde import OUVE, SBVE, SDE
from rosecd_jax.models.ncsnpp import NCSNppConfig
from rosecd_jax.models.score_model import ModelConfig

MISSING = object()
MOST_BLOCKS = 8
"""Maximum residual blocks per level; published models have two. Checking 64 takes more than ten seconds."""
_SPELLINGS: dict[str, dict[Any, Any]] = {
    "fir_kernel": {"song": [1, 3, 3, 1]},
    "loss_type": {"mse": "score_matching", "mae": "score_matching"},
}
"""Values renamed in SGMSE+'s revisions of 2022 and 2023: name -> old value -> current value. The loss "mae"
only affects training."""
_FIXED: dict[str, Any] = {
    "nonlinearity": "swish",
    "conditional": True,
    "fir": True,
    "fir_kernel": [1, 3, 3, 1],
    "skip_rescale": True,
    "resblock_type": "biggan",
    "progressive_combine": "sum",
    "embedding_type": "fourier",
    "centered": True,
    "scale_by_sigma": True,
    "window": "hann",
    "transform_type": "exponent",
    "input_y": True,
    "time_cond": "t",
    "minus": True,
    "resamp_with_conv": True,
}
"""Options that only the authors' code has, some only in 2022; published models have these values."""


class HyperParameters:
    """Validating access to the authors' dictionary of hyper-parameters.

    Every method raises ValueError, naming the hyper-parameter, if a value is missing or invalid.
    """

    def __init__(self, values: Mapping[Any, Any]) -> None:
        self.values = values
        self.asked: set[str] = set()

    def number(self, name: str, default: Any = MISSING) -> float:
        value = self._get(name, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e9:
            raise self._error(name, value, "a number")
        return float(value)

    def positive(self, name: str, default: Any = MISSING) -> float:
        value = self.number(name, default)
        if value <= 0:
            raise self._error(name, value, "a positive number")
        return value

    def count(self, name: str, default: Any = MISSING, most: int = 1_000_000) -> int:
        value = self._get(name, default)
        if type(value) is not int or not 0 < value <= most:
            raise self._error(name, value, f"a whole number from 1 to {most}")
        return value

    def counts(self, name: str, default: Any = MISSING, most_each: int = 4096) -> tuple[int, ...]:
        value = self._get(name, default)
        if not isinstance(value, (list, tuple)) or len(value) > 12:
            raise self._error(name, value, "a list of at most 12 whole numbers")
        for item in value:
            if type(item) is not int or not 0 < item <= most_each:
                raise self._error(name, item, f"a list of whole numbers from 1 to {most_each}")
        return tuple(value)

    def choice(self, name: str, choices: tuple[str, ...], default: Any = MISSING) -> str:
        value = self._get(name, default)
        if not isinstance(value, str) or value not in choices:
            raise self._error(name, value, f"one of {', '.join(choices)}")
        return value

    def fixed(self, name: str, value: Any) -> None:
        """Require this value, unless the hyper-parameter is missing."""
        found = self._get(name, value)
        if isinstance(found, tuple):
            found = list(found)
        if type(found) is not type(value) or found != value:
            raise self._error(name, found, repr(value))

    def _get(self, name: str, default: Any) -> Any:
        self.asked.add(name)
        if name not in self.values and default is MISSING:
            raise ValueError(f"hyper-parameter {name!r} is missing")
        value = self.values.get(name, default)
        spellings = _SPELLINGS.get(name, {})
        return spellings.get(value, value) if isinstance(value, str) else value

    @staticmethod
    def _error(name: str, value: Any, expected: str) -> ValueError:
        # A hostile file's value may be long when formatted.
        shown = repr(value)[:80] if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
        return ValueError(f"hyper-parameter {name!r} is {shown}; expected {expected}")


@dataclasses.dataclass(frozen=True)
class Backbone:
    """Defaults and settings that one of the authors' network names implies.

    Attributes:
      sample_rate: default, in Hz.
      attention: default heights of attention.
      fixed: further hyper-parameters of which only one value is supported.
      fields: fields of our network's config that the name implies.
      wrapped: whether their model scales input and output (otherwise the network returns minus the score).
    """

    sample_rate: int = 16_000
    attention: tuple[int, ...] = (16,)
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    wrapped: bool = True


_PYRAMIDS = {"progressive": "output_skip", "progressive_input": "input_skip"}
BACKBONES = {
    "ncsnpp_v2": Backbone(fixed=_PYRAMIDS, fields={"pyramids": True, "time_division": "none"}),
    "ncsnpp": Backbone(fixed=_PYRAMIDS, fields={"pyramids": True, "time_division": "before"}, wrapped=False),
    "ncsnpp_48k": Backbone(
        sample_rate=48_000,
        attention=(),
        fixed={"progressive": "none", "progressive_input": "none"},
        fields={"pyramids": False, "time_division": "after"},
        wrapped=False,
    ),
}


def config_from_hyper_parameters(values: Mapping[Any, Any], role: str | None = None) -> ModelConfig:
    """Convert the authors' hyper-parameters to our model config.

    Args:
      values: "hyper_parameters" of their checkpoints.
      role: "teacher" or "student"; None: student if c_in is "1" and c_out and c_skip are "edm".

    Raises:
      ValueError: naming the hyper-parameter that is missing, of a wrong type, or not supported, or the
        related project that they belong to.
    """
    return _read_config(HyperParameters(values), role)


def _read_config(hyper: HyperParameters, role: str | None) -> ModelConfig:
    if project := relative(hyper.values, ()):
        raise ValueError(f"these are hyper-parameters of {project}, which is not supported; {SUPPORTED}")
    name = hyper.choice("backbone", tuple(BACKBONES))
    backbone = BACKBONES[name]
    for field, value in (_FIXED | dict(backbone.fixed)).items():
        hyper.fixed(field, value)
    n_fft = hyper.count("n_fft", 510, most=16384)
    front = FrontEnd(
        sample_rate=hyper.count("sr", backbone.sample_rate),
        n_fft=n_fft,
        hop=hyper.count("hop_length", 128, most=n_fft),
        exponent=hyper.positive("spec_abs_exponent", 0.5),
        factor=hyper.positive("spec_factor", 0.15),
    )
    network = NCSNppConfig(
        channels=hyper.count("nf", 128, most=4096),
        multipliers=hyper.counts("ch_mult", (1, 1, 2, 2, 2, 2, 2), most_each=64),
        blocks=hyper.count("num_res_blocks", 2, most=MOST_BLOCKS),
        bins=front.bins,
        attention_heights=hyper.counts("attn_resolutions", backbone.attention),
        fourier_scale=hyper.positive("fourier_scale", 16.0),
        **backbone.fields,
    )
    if network.attention_heights:
        hyper.fixed("image_size", front.bins)
    sde = _read_sde(hyper)
    preconditioning = (_read_preconditioning if backbone.wrapped else _read_output)(hyper, sde)
    if role is None:
        distilled = Preconditioning(c_in="1", sigma_data=preconditioning.sigma_data)
        role = "student" if preconditioning == distilled else "teacher"
    return ModelConfig(role, front, sde, preconditioning, network)  # type: ignore[arg-type]


SGMSE_PLUS = Preconditioning(c_in="1", c_out="-1", c_skip="0", output="score")
"""Preconditioning of networks before `ncsnpp_v2`: their output is minus the score, nothing else is scaled."""
SGMSE_PLUS_BRIDGE = dataclasses.replace(SGMSE_PLUS, output="denoised")
"""The same for a bridge, where the output is minus the clean speech."""


def _read_sde(hyper: HyperParameters) -> SDE:
    if hyper.choice("sde", ("ouve", "sbve")) == "ouve":
        return OUVE(
            gamma=hyper.positive("theta", 1.5),
            sigma_min=hyper.positive("sigma_min", 0.05),
            sigma_max=hyper.positive("sigma_max", 0.5),
            t_eps=hyper.positive("t_eps", 0.03),
            steps=hyper.count("N", 30),
        )
    # Their t_eps bounds a bridge's times only in training; their samplers always go to 1e-4.
    return SBVE(
        k=hyper.positive("k", 2.6),
        c=hyper.positive("c", 0.4),
        eps=hyper.positive("eps", 1e-8),
        steps=hyper.count("N", 50),
    )


def _read_output(hyper: HyperParameters, sde: SDE) -> Preconditioning:
    """Read the preconditioning of a network without scaling."""
    if isinstance(sde, SBVE):
        hyper.choice("loss_type", ("data_prediction",))
        return SGMSE_PLUS_BRIDGE
    hyper.choice(
        "loss_type", ("score_matching", "denoiser"), "score_matching"
    )  # for both, the output is a score
    return SGMSE_PLUS


def _read_preconditioning(hyper: HyperParameters, sde: SDE) -> Preconditioning:
    kinds = ("score_matching", "denoiser", "precond_denoiser", "data_prediction")
    kind = hyper.choice("loss_type", kinds, "score_matching")
    bridge = isinstance(sde, SBVE)
    if kind not in (("data_prediction", "precond_denoiser") if bridge else kinds[:3]):
        raise ValueError(f"hyper-parameter 'loss_type' is {kind!r}, which doesn't go with sde {sde.kind!r}")
    scaling = hyper.values.get("network_scaling")
    scaling = "1" if scaling is None else hyper.choice("network_scaling", ("1", "1/sigma", "1/t"))
    c_in = hyper.choice("c_in", ("1", "edm"), "1")
    # A plain denoiser's output is not scaled, regardless of c_out and c_skip.
    c_out = hyper.choice("c_out", ("1", "sigma", "1/sigma", "edm"), "1") if kind != "denoiser" else "1"
    c_skip = hyper.choice("c_skip", ("0", "1", "edm"), "0") if kind != "denoiser" else "0"
    return Preconditioning(
        c_in=c_in,  # type: ignore[arg-type]
        c_out=c_out,  # type: ignore[arg-type]
        c_skip=c_skip,  # type: ignore[arg-type]
        sigma_data=hyper.positive("sigma_data", 0.1),
        network_scaling=scaling,  # type: ignore[arg-type]
        output="score" if kind == "score_matching" else "denoised",
    )


def refuse_misspelled(values: Mapping[str, Any]) -> None:
    """Raise ValueError if an unused name resembles a missing one, in values written by a user."""
    hyper = HyperParameters(values)
    _read_config(hyper, None)
    for name in sorted(set(values) - hyper.asked):
        if close := difflib.get_close_matches(name, hyper.asked - set(values), 1, 0.8):
            raise ValueError(f"hyper-parameter {name!r} is not known; did you mean {close[0]!r}?")


def published_sampler(name: str, values: Mapping[Any, Any]) -> tuple[int | None, float]:
    """Return the authors' recommended sampler settings for a published model.

    Args:
      name: file name of the checkpoint.
      values: hyper-parameters of the checkpoint.

    Returns:
      Steps (None: those of the hyper-parameters) and the corrector's snr.
    """
    if (
        re.search(r"wsj0[-_]?reverb", f"{name} {values.get('base_dir')}".lower())
        or values.get("format") == "reverb"
    ):
        return 50, 0.33  # README of SGMSE+, on its checkpoint of WSJ0-REVERB
    return None, 0.5


def hyper_parameters_from_config(config: ModelConfig) -> dict[str, Any]:
    """Convert a config to arguments of the authors' `ScoreModel(..., data_module_cls=SpecsDataModule)`.

    Values that matter only in training are defaults, with the losses that have parameters turned off.

    Raises:
      ValueError: if the authors' code has no such model.
    """
    front, sde, network, scaling = config.front_end, config.sde, config.network, config.preconditioning
    wrapped = scaling != (SGMSE_PLUS_BRIDGE if isinstance(sde, SBVE) else SGMSE_PLUS)
    names = [
        name
        for name, backbone in BACKBONES.items()
        if backbone.wrapped == wrapped
        and all(getattr(network, field) == value for field, value in backbone.fields.items())
    ]
    if not names:
        raise ValueError("the authors' code has no model with this network and preconditioning")
    if scaling.c_out == "-1" and wrapped:
        raise ValueError("the authors' code has no preconditioning with c_out -1")
    values: dict[str, Any] = {
        "backbone": names[0],
        "sde": sde.kind,
        "sr": front.sample_rate,
        "t_eps": sde.t_eps,
    }
    if isinstance(sde, OUVE):
        values |= {"theta": sde.gamma, "sigma_min": sde.sigma_min, "sigma_max": sde.sigma_max, "N": sde.steps}
    else:
        values |= {"k": sde.k, "c": sde.c, "eps": sde.eps, "N": sde.steps}
    if not wrapped:
        values["loss_type"] = "data_prediction" if isinstance(sde, SBVE) else "score_matching"
    else:
        values |= {
            "loss_type": _loss_type(config),
            "c_in": scaling.c_in,
            "c_out": scaling.c_out,
            "c_skip": scaling.c_skip,
            "sigma_data": scaling.sigma_data,
            "network_scaling": None if scaling.network_scaling == "1" else scaling.network_scaling,
        }
    values |= {
        "nf": network.channels,
        "ch_mult": list(network.multipliers),
        "num_res_blocks": network.blocks,
        "attn_resolutions": list(network.attention_heights),
        "image_size": network.bins,
        "fourier_scale": network.fourier_scale,
        "n_fft": front.n_fft,
        "hop_length": front.hop,
        "spec_abs_exponent": front.exponent,
        "spec_factor": front.factor,
    }
    training = {"lr": 1e-4, "ema_decay": 0.999, "num_eval_files": 20, "pesq_weight": 0.0, "l1_weight": 0.001}
    return values | training | {"base_dir": ".", "batch_size": 8, "num_frames": 256, "num_workers": 4}


def _loss_type(config: ModelConfig) -> str:
    scaling = config.preconditioning
    if scaling.output == "score":
        kind = "score_matching"
    elif config.sde.kind == "sbve" and config.role == "teacher":
        kind = "data_prediction"
    else:
        kind = "precond_denoiser"
    if kind == "score_matching" and config.sde.kind == "sbve":
        raise ValueError("the authors' code has no bridge whose network gives the score")
    return kind
