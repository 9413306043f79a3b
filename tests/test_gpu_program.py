"""What the benchmark of a GPU's program counts, and the program itself where the compiler is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu_program import Cost, costs, parse

ROOT = Path(__file__).parents[1]
HLO = """HloModule jit_denoise, entry_computation_layout={(f32[8,4]{1,0})->f32[8,4]{1,0}}

%halves (p.1: f32[8,4], p.0: f32[4]) -> bf16[4,4] {
  %p.1 = f32[8,4]{1,0} parameter(1)
  %p.0 = f32[4]{0} parameter(0)
  %part = f32[4,4]{1,0} slice(%p.1), slice={[0:4], [0:4]}
  %moved = f32[4,4]{0,1} transpose(%part), dimensions={1,0}
  ROOT %rounded = bf16[4,4]{1,0} convert(%moved)
}

%filled (p.2: f32[4]) -> f32[64,4] {
  %p.2 = f32[4]{0} parameter(0)
  ROOT %array = f32[64,4]{1,0} broadcast(%p.2), dimensions={1}
}

%body (state: (f32[4], f32[64,4])) -> (f32[4], f32[64,4]) {
  %state = (f32[4]{0}, f32[64,4]{1,0}) parameter(0)
  %bias = f32[4]{0} get-tuple-element(%state), index=0
  %fill = f32[64,4]{1,0} fusion(%bias), kind=kLoop, calls=%filled, metadata={op_name="jit(f)/NCSNpp/NCSNpp._up/up_3_block_0/conv_1/add"}
  ROOT %next = (f32[4]{0}, f32[64,4]{1,0}) tuple(%bias, %fill)
}

ENTRY %main (x: f32[8,4], k: f32[4]) -> bf16[4,4] {
  %x = f32[8,4]{1,0} parameter(0)
  %k = f32[4]{0} parameter(1)
  %conv = (f32[8,4]{1,0}, u8[0]{0}) custom-call(%x, %k), custom_call_target="__cudnn$convForward", metadata={op_name="jit(f)/transpose(jvp(student))/input/conv_general_dilated"}
  %y = f32[8,4]{1,0} get-tuple-element(%conv), index=0
  %loop = (f32[4]{0}, f32[64,4]{1,0}) while(%t), condition=%c, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %f = bf16[4,4]{1,0} fusion(%k, %y), kind=kInput, calls=%halves
}
"""  # noqa: E501


def test_bytes_are_those_of_operands_slices_and_results_by_executions():
    assert list(costs(parse(HLO))) == [
        Cost(1, 2 * 128 + 16, "convolution", "backward input/conv_general_dilated"),
        Cost(3, 3 * (16 + 1024), "broadcast", "up_block/conv/add"),
        Cost(1, 16 + 64 + 32, "transpose", "fusion"),
    ]


GPU = """gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 151397597184 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
"""


@pytest.mark.skipif(
    importlib.util.find_spec("jax_plugins") is None
    or importlib.util.find_spec("jax_plugins.xla_cuda12") is None,
    reason="jax-cuda12-plugin is not installed",
)
def test_a_program_is_compiled_for_an_absent_gpu(tmp_path):
    (tmp_path / "gpu.txtpb").write_text(GPU)
    size = ["--size", "tiny", "--batch", "2", "--frames", "16"]
    command = [sys.executable, "-m", "benchmarks.gpu_program", str(tmp_path / "gpu.txtpb"), *size]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "convolution" in result.stdout
    assert "memory traffic" in result.stdout
