"""benchmarks.step_parts: every objective's parts run, and leave the step as it was."""

import jax
import numpy as np
import pytest

from benchmarks.step_parts import Parts, median_seconds, print_parts, random_batches
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.losses import DistillationConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.training import OptimizerConfig, TrainConfig
from rosecd_jax.training.devices import make_mesh
from rosecd_jax.training.step import make_step

NETWORK = NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1, attention_heights=())
ALWAYS = ["whole step", "network, forward and backward", "losses and STFT", "optimizer and moving average"]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["score", "distillation"])
def test_a_step_is_split_into_the_parts_that_its_objective_has(objective, corpus, capsys):
    student = objective == "distillation"
    config = TrainConfig(
        objective=objective,
        teacher="somewhere" if student else "",
        model=ModelConfig(role="student" if student else "teacher", network=NETWORK),
        distillation=DistillationConfig(pesq_weight=0.0),
        data=LoaderConfig(path=str(corpus) if student else "", frames=16, batch_size=2),
        optimizer=OptimizerConfig(accumulate=2),
    )
    model, mesh = ScoreModel(config.model), make_mesh()
    step = make_step(config, model, ScoreModel(config.model), mesh)
    params = jax.device_get(model.init(jax.random.key(0)))
    state = step.init(params, np.zeros(2, np.uint32))
    batches = random_batches(config, model.front_end.samples(16), mesh)
    assert [wave.shape for waves in batches for wave in waves] == 4 * [(2, 15 * 128)]
    parts = Parts(config, model, step, state, params if student else {}, batches)
    found = parts.all(mesh)
    others = ["solver: teacher's step and target", "input, from the loader"] if student else []
    assert sorted(found) == sorted([*ALWAYS, *others])
    seconds = median_seconds(found, 2)
    assert list(seconds) == list(found)
    assert min(seconds.values()) > 0
    assert int(parts.state.step) == 1 + 2 * 3  # the first step, and three whole steps and updates
    if student:
        batch = found["input, from the loader"]()[0]
        assert batch.clean.shape == (2, 15 * 128)
        assert not np.array_equal(batch.clean, batch.noisy)
    print_parts(seconds)
    table = capsys.readouterr().out
    assert "100.0 %" in table
    assert all(name in table for name in found)
