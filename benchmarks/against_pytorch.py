"""Our network against the authors' in PyTorch, with the same weights and inputs.

    python -m benchmarks.against_pytorch --reference PATH [--sizes full 32 16] [--batch 1] [--gradient]

PATH is a checkout of the authors' code (github.com/LiangXu123, "Robust-One-step-Speech-Enhancement-via-
Consistency-Distillation-ROSE-CD-"), which is neither part of this package nor downloaded; PyTorch has to be
installed, too. Without PATH, nothing is measured. Both networks get the same random weights; the outputs of
one call on 256 frames are compared, and calls are timed in turn: on a CPU in float32; on a GPU in TF32, the
authors' setting, and bfloat16. Theirs runs in a process of its own, with glibc's default settings, or with
--keep-freed-memory those of our command line, which make PyTorch faster, too. With --gradient, a whole
distillation gradient of ours (student, target, two calls of the teacher, all loss terms) is compared with
only the network calls of theirs: forward and backward of the student, one forward call of the target and two
of the teacher.
Prints the medians, their ratio (the median of the ratios of paired runs) and the largest difference between
the outputs, divided by the largest output.
"""

import argparse
import dataclasses
import functools
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.timing import interleaved, machine, plain_errors, print_table
from rosecd_jax.conversion.parameters import params_to_torch
from rosecd_jax.losses import DistillationConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.models.score_model import Params
from rosecd_jax.processes import keep_freed_memory
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.devices import make_mesh
from rosecd_jax.training.step import Waves, make_step

SIZES = timing.SIZES | {"16": NCSNppConfig(channels=16, blocks=1)}
"""Networks by name; "16" is the packaged model's."""
FRAMES = 256
Inputs = tuple[np.ndarray, np.ndarray, np.ndarray]
"""x_t and y, complex64 [B, 256, 256], and t, float32 [B]."""


def random_weights(model: ScoreModel) -> Params:
    """Draw weights without zeros, so that every layer matters."""
    rng = np.random.default_rng(0)
    params = jax.device_get(model.init(jax.random.key(0)))
    return jax.tree.map(lambda p: p + 0.02 * rng.standard_normal(p.shape, np.float32), params)


def random_inputs(batch: int) -> Inputs:
    """Draw the inputs of one call."""
    parts = np.random.default_rng(1).standard_normal((2, batch, 256, FRAMES, 2), np.float32)
    x, y = parts.view(np.complex64)[..., 0]
    return x, y, np.full(batch, 0.7, np.float32)


class Theirs:
    """The authors' network in PyTorch, with our weights.

    Args:
      reference: their checkout.
    """

    def __init__(self, reference: str, size: NCSNppConfig, params: Params, inputs: Inputs) -> None:
        import torch  # type: ignore[import-not-found]

        if reference not in sys.path:
            sys.path.insert(0, reference)
        from sgmse.backbones.ncsnpp_v2 import NCSNpp_v2  # type: ignore[import-not-found]

        self.torch, self.device = torch, "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        network = NCSNpp_v2(nf=size.channels, ch_mult=size.multipliers, num_res_blocks=size.blocks)
        state = {name: torch.tensor(np.array(value)) for name, value in params_to_torch(params, size).items()}
        network.load_state_dict(state)
        self.network = network.to(self.device).eval()
        x, y, t = (torch.from_numpy(value).to(self.device) for value in inputs)
        self.inputs = x[:, None], y[:, None], t

    def forward(self, bfloat16: bool = False) -> np.ndarray:
        """Call the network without a gradient."""
        enabled = self.torch.autocast(self.device, self.torch.bfloat16, enabled=bfloat16)
        with self.torch.no_grad(), enabled:
            return self.network(*self.inputs).cpu().numpy()

    def gradient(self) -> np.ndarray:
        """Call the student forward and backward, and three frozen networks forward."""
        for _ in range(3):
            self.forward()
        self.network.zero_grad()
        self.network(*self.inputs).abs().square().mean().backward()
        return self.network.output_layer.weight.grad.cpu().numpy()


class Remote:
    """`Theirs` in a process of its own; its calls wait for the result. Use as a context manager.

    Args:
      keep_memory: whether to call `keep_freed_memory` there.
      arguments: those of `Theirs`.
    """

    made: Theirs

    def __init__(self, keep_memory: bool, *arguments: Any) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, spawn, initializer=Remote.make, initargs=(keep_memory, *arguments))

    def __enter__(self) -> "Remote":
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown()

    @staticmethod
    def make(keep_memory: bool, *arguments: Any) -> None:
        if keep_memory:
            keep_freed_memory()
        Remote.made = Theirs(*arguments)

    @staticmethod
    def get(name: str, *arguments: Any) -> Any:
        value = getattr(Remote.made, name)
        return value(*arguments) if callable(value) else value

    def __call__(self, name: str, *arguments: Any) -> Any:
        """Return an attribute of `Theirs`, or the result of a method."""
        return self.pool.submit(Remote.get, name, *arguments).result()


def our_call(model: ScoreModel, params: Params, inputs: Inputs, dtype: str) -> Callable[[], Any]:
    """Compile one call of our network."""
    network = dataclasses.replace(model.config.network, dtype=dtype)
    model = ScoreModel(dataclasses.replace(model.config, network=network))
    arguments = jax.device_put((params, *inputs))
    return functools.partial(jax.jit(model.raw).lower(*arguments).compile(), *arguments)


def our_gradient(model: ScoreModel, params: Params, batch: int) -> Callable[[], Any]:
    """Compile our whole distillation gradient, as in training; the student is its own teacher."""
    distillation = DistillationConfig(pesq_weight=5e-4, si_sdr_weight=5e-5)
    config = TrainConfig(
        objective="distillation", model=model.config, teacher="the same", distillation=distillation
    )
    step = make_step(config, model, model, make_mesh())
    state = step.init(params, np.asarray(jax.random.key_data(jax.random.key(0))))
    waves = np.random.default_rng(2).uniform(-0.5, 0.5, (batch, model.front_end.samples(FRAMES)))
    arguments = state, jax.device_put(params), Waves(*2 * [jnp.float32(waves)]), jnp.int32(0)

    def run() -> Any:
        return step.add_gradient(step.zeros(state.params), *arguments)

    return run


def compare(
    theirs: Remote, model: ScoreModel, params: Params, inputs: Inputs, gradient: bool, runs: int
) -> list[tuple[str, ...]]:
    """Compare and measure one size; return rows of the table."""
    dtypes = ["float32"] if theirs("device") == "cpu" else ["float32", "bfloat16"]
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {}
    differences = {}
    for dtype in dtypes:
        ours = our_call(model, params, inputs, dtype)
        their = functools.partial(theirs, "forward", dtype == "bfloat16")
        output, expected = np.squeeze(ours()), np.squeeze(their())
        differences[dtype] = f"{np.abs(output - expected).max() / np.abs(expected).max():.1e}"
        pairs[dtype] = ours, their
    if gradient:
        pairs["gradient"] = our_gradient(model, params, len(inputs[2])), functools.partial(theirs, "gradient")
    rows = []
    for what, (ours, their) in pairs.items():
        times = interleaved({"ours": ours, "theirs": their}, runs)
        seconds = (f"{1000 * np.median(times[name]):.1f}" for name in ("ours", "theirs"))
        ratio = np.median(times["theirs"] / times["ours"])
        rows.append((what, *seconds, f"{ratio:.2f}", differences.get(what, "")))
        print(" ".join(rows[-1]), flush=True)  # the published size takes minutes
    return rows


def main(reference: str, sizes: list[str], batch: int, gradient: bool, runs: int, keep_memory: bool) -> None:
    """Compare and measure all sizes, and print the table."""
    keep_freed_memory()
    print(machine())
    rows, inputs = [], random_inputs(batch)
    for size in sizes:
        model = ScoreModel(ModelConfig(role="student", network=SIZES[size]))
        params = random_weights(model)
        print(f"{size}:", flush=True)
        with Remote(keep_memory, reference, SIZES[size], params, inputs) as theirs:
            rows += [(size, *row) for row in compare(theirs, model, params, inputs, gradient, runs)]
    header = ("size", "", "ours, ms", "PyTorch, ms", "ratio", "difference")
    print_table(f"{batch} x {FRAMES} frames, medians of {runs}", header, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reference", default="", help="checkout of the authors' code")
    parser.add_argument("--sizes", nargs="+", default=["16", "32", "full"], choices=SIZES)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--gradient", action="store_true")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--keep-freed-memory", action="store_true", help="in PyTorch's process, too")
    options = parser.parse_args()
    if not options.reference:
        print("nothing was measured: pass a clone of the authors' code, see README.md, as --reference PATH")
    elif not Path(options.reference, "sgmse", "backbones", "ncsnpp_v2.py").is_file():
        sys.exit(f"against_pytorch: {options.reference} has no sgmse/backbones/ncsnpp_v2.py")
    else:
        with plain_errors():
            main(
                options.reference,
                options.sizes,
                options.batch,
                options.gradient,
                options.runs,
                options.keep_freed_memory,
            )
