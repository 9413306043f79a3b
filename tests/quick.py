"""Options of XLA that compile in a third of the time, into slower programs; free of JAX, which reads them."""

import importlib.metadata
from typing import Any

OPTIONS: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
if importlib.metadata.version("jaxlib").startswith("0.10."):  # newer versions have no such option
    OPTIONS["xla_cpu_use_fusion_emitters"] = False

FLAGS = " ".join(f"--{name}={str(value).lower()}" for name, value in OPTIONS.items())
"""The same for the environment."""
