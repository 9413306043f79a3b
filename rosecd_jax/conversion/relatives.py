"""Recognition of checkpoints of related projects, which are not supported.

Each rule was checked against what `save_hyperparameters` or `torch.save` stores in the project's code.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

SUPPORTED = (
    "supported are the NCSN++ networks of SGMSE+ and ROSE-CD (ncsnpp, ncsnpp_48k, ncsnpp_v2) with the OUVE "
    "SDE or the Schrödinger bridge"
)

_BY_VALUE = {
    ("backbone", "dcunet"): "SGMSE with a DCUNet (Welker et al. 2022)",
    ("sde", "bbed"): "SGMSE-BBED (Lay et al. 2023)",
    ("sde", "bbve"): "SGMSE-BBED (Lay et al. 2023)",
    ("sde", "ouvp"): "SGMSE with the variance-preserving OUVP SDE",
    ("model", "ncsnpp_v2_drift"): "DriftSE",
}
_BY_NAME = {
    r"use_mfse|mf_\w+": "MeanFlowSE, a flow-matching model",
    r"ode": "FlowSE (FlowMSE), a flow-matching model",
    r"ctm_\w+": "SBCTM, a Schrödinger bridge consistency trajectory model",
    r"backbone_(denoiser|score)|loss_type_(denoiser|score)": "StoRM (Lemercier et al. 2023)",
}
_BY_PARAMETER = {
    r"(denoiser_net|score_net)\..*": "StoRM (Lemercier et al. 2023)",
    r"dnn_tgt\..*": "SBCTM, a Schrödinger bridge consistency trajectory model",
    r"(.*\.)?(enc|dec)\.\d+x\d+_.*": "EDM2SE",
}
_DISCRIMINATIVE = ("discriminative", "discriminatively")


def relative(hyper_parameters: Mapping[Any, Any], parameters: Iterable[Any]) -> str | None:
    """Name the related project that wrote a checkpoint; None if it is not a known one.

    Args:
      hyper_parameters: from the file; empty if it has none.
      parameters: the names in its state dict.
    """
    for (name, value), project in _BY_VALUE.items():
        if _is(hyper_parameters.get(name), value):
            return project
    if any(hyper_parameters.get(name) is True for name in _DISCRIMINATIVE):
        return "a discriminative NCSN++, without diffusion"
    backbone = hyper_parameters.get("backbone")
    if isinstance(backbone, str) and "-ctm" in backbone:
        return _BY_NAME[r"ctm_\w+"]
    return _first(_BY_NAME, hyper_parameters) or _first(_BY_PARAMETER, parameters)


def _is(found: Any, value: str) -> bool:
    return isinstance(found, str) and found.lower() == value


def _first(patterns: Mapping[str, str], names: Iterable[Any]) -> str | None:
    texts = [name for name in names if isinstance(name, str) and len(name) < 200]
    for pattern, project in patterns.items():
        if any(re.fullmatch(pattern, text) for text in texts):
            return project
    return None
