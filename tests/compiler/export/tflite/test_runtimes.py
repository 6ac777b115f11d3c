"""Rungs in TFLite's runtimes, each in a device's own environment: ai-edge-litert, and tflite-runtime 2.14 with numpy 1.

That a file loads proves nothing: one of dynamic range loads in the older runtime and computes chance. Accuracy is compared.
"""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from msgspec.structs import replace
from numpy.typing import NDArray
from tests.compiler import digits
from tests.compiler.networks import MAKERS, TOPOLOGIES, network_of, normal_form, samples, warmed
from tests.compiler.rungs import master_for, twin_outputs
from torch import Tensor, nn

from secateur.evaluation import Session, snr_db
from secateur.ir import Network
from secateur.master import Master
from secateur.writing import file_of, rung_file
from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.control import LoadRung
from secateur_agent.profiling.measure import ProfileRequest, ProfileResult

ROOT = Path(__file__).parents[4]
RUNTIMES = {"tflite": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}
"""Extra of the agent, of which the environment has its name, and the distribution that must be there."""


@pytest.fixture(params=RUNTIMES)
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment that has the agent and one runtime."""
    path = ROOT / f".venv-{request.param}" / "bin" / "python"
    if not path.exists():
        pytest.skip(f"no environment .venv-{request.param}: 'make test' makes it, where this Python has a wheel")
    return path


@cache
def master() -> Master:
    """The master of a trained network."""
    return master_for(digits.network(), digits.arrays()[0][:256])


@cache
def rung(share: float) -> tuple[dict[str, int], Network]:
    """Keep-counts and network of a rung."""
    keep = {group.id: max(1, round(share * group.size)) for group in master().groups.groups}
    return keep, master().rung_network(keep)


def request_for(folder: Path, data: bytes, network: Network, precision: str) -> LoadRung:
    path = folder / "rung.model"
    path.write_bytes(data)
    (name, shape), (out, out_shape) = next(iter(network.inputs.items())), next(iter(network.outputs.items()))
    return LoadRung(
        rung="r0-int8",
        path=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        precision=precision,  # type: ignore[arg-type]
        name="digits",
        inputs=(TensorSpec(name=name, shape=shape),),
        outputs=(TensorSpec(name=out, shape=out_shape),),
        runtime="tflite",
        providers=("XNNPACK",),
    )


def run(python: Path, folder: Path, load: LoadRung, x: NDArray[np.float32]) -> NDArray[np.float32]:
    return run_all(python, [(folder, load, x)])[0]


def run_all(python: Path, runs: list[tuple[Path, LoadRung, NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    for folder, load, x in runs:
        (folder / "request.json").write_bytes(msgspec.json.encode(load))
        np.save(folder / "x.npy", x)
    command = [str(python), str(ROOT / "tests" / "run_rung.py"), *(str(folder) for folder, _, _ in runs)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return [np.load(folder / "y.npy") for folder, _, _ in runs]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_int8_with_shared_weights_is_as_good_as_quantized_by_itself(python: Path, tmp_path: Path, share: float) -> None:
    keep, network = rung(share)
    x = digits.arrays()[1]
    reference = twin_outputs(network, x)
    index = master().index(keep)
    shared = rung_file(master(), network, index, "int8", runtime="tflite")
    ordinary = file_of(network, master().calibration, "int8", runtime="tflite")
    found = [
        snr_db(reference, run(python, tmp_path, request_for(tmp_path, data, network, "int8"), x))
        for data in (shared, ordinary)
    ]
    assert found[0] > found[1] - 2, found  # 16 channels a layer: the benchmark has real networks
    onnx = Session(rung_file(master(), network, index, "int8")).run(x)
    lite = run(python, tmp_path, request_for(tmp_path, shared, network, "int8"), x)
    labels = digits.arrays()[3]
    accuracy = [float((outputs.argmax(1) == labels).mean()) for outputs in (onnx, lite)]
    assert abs(accuracy[0] - accuracy[1]) <= 0.005, accuracy


@pytest.mark.parametrize(("precision", "least_db"), [("fp32", 90), ("fp16", 50), ("int8-weight-only", 35)])
def test_what_computes_in_float_is_what_torch_computes(
    python: Path, tmp_path: Path, precision: str, least_db: float
) -> None:
    keep, network = rung(0.5)
    x = digits.arrays()[1][:100]
    data = rung_file(master(), network, master().index(keep), precision, runtime="tflite")
    outputs = run(python, tmp_path, request_for(tmp_path, data, network, precision), x)
    assert snr_db(twin_outputs(network, x), outputs) > least_db


class Pooled(nn.Module):
    """Pools that TFLite has no padding of its own for, a concatenation, a transposed convolution, a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.up = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 1), nn.ConvTranspose2d(16, 8, 3, 2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        y = F.max_pool2d(x, 3, 2, 1)
        y = self.up(torch.cat((y, torch.sigmoid(self.two(y))), 1))
        return F.avg_pool2d(F.hardswish(y), 2)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_every_topology_computes_there_what_it_computes_in_torch(python: Path, tmp_path: Path, precision: str) -> None:
    runs, wanted = [], []
    for name in [*(name for name in TOPOLOGIES if name != "mixed"), "pooled"]:
        shape = (3, 16, 16) if name == "pooled" else MAKERS[name][1]
        network = normal_form(warmed(Pooled(), shape), shape) if name == "pooled" else network_of(name)
        x = samples(shape, 8, seed=3)
        data = file_of(network, samples(shape, 64), precision, runtime="tflite")
        folder = tmp_path / name
        folder.mkdir()
        runs.append((folder, request_for(folder, data, network, precision), x))
        wanted.append(twin_outputs(network, x))
    for (folder, _, _), reference, outputs in zip(runs, wanted, run_all(python, runs)):
        assert snr_db(reference, outputs) > (90 if precision == "fp32" else 20), folder.name


def test_the_agent_measures_a_rung_there(python: Path, tmp_path: Path) -> None:
    """Latency and peak memory of a fresh process, by the agent of that environment."""
    keep, network = rung(1.0)
    data = rung_file(master(), network, master().index(keep), "int8", runtime="tflite")
    request = ProfileRequest(load=request_for(tmp_path, data, network, "int8"), runs=20)
    command = [str(python), "-m", "secateur_agent.profiling.rung"]
    ended = subprocess.run(command, input=msgspec.json.encode(request), capture_output=True, cwd=tmp_path)
    result = msgspec.json.decode(ended.stdout, type=ProfileResult)
    assert result.ok, result.error
    assert result.measurement is not None
    assert result.measurement.latency_p50_ms > 0
    assert 10 < result.measurement.peak_rss_mb < 500


def test_a_board_without_a_wheel_of_the_runtime_is_told_what_it_has_instead(python: Path, tmp_path: Path) -> None:
    """Boards for which there is no wheel of ONNX Runtime: onnxruntime#24511, #18951, #16514."""
    load = replace(request_for(tmp_path, b"", rung(1.0)[1], "int8"), runtime="onnxruntime")
    command = [str(python), "-m", "secateur_agent.profiling.rung"]
    request = msgspec.json.encode(ProfileRequest(load=load))
    ended = subprocess.run(command, input=request, capture_output=True, cwd=tmp_path)
    result = msgspec.json.decode(ended.stdout, type=ProfileResult)
    assert b"Traceback" not in ended.stderr
    assert not result.ok
    assert "runtime 'onnxruntime': No module named 'onnxruntime'" in result.error
    assert (
        "install it with pip install 'secateur-agent[onnxruntime]'; or compile for what is here: tflite 2." in result.error
    )


def test_each_environment_has_its_own_runtime_and_nothing_of_the_host(python: Path) -> None:
    code = "from importlib.metadata import distributions as d; print(*sorted({x.metadata['Name'].lower() for x in d()}))"
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.split()
    wanted = RUNTIMES[python.parents[1].name.removeprefix(".venv-")]
    others = set(RUNTIMES.values()) - {wanted}
    assert wanted in {name.replace("_", "-") for name in found}
    assert not ({"torch", "onnx", "onnxruntime", "secateur"} | others) & set(found)
