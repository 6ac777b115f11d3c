"""Fixtures for the agent's tests: tiny rungs as real ONNX files, and a real worker process that serves them."""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.control import LoadRung, WorkerProcess
from secateur_agent.inference.listen import endpoint, listening_socket

R = TypeVar("R")


class TinyRungs:
    """Writes rungs that compute ``y = scale · x · W`` with W of ones, so that an answer tells which rung gave it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(
        self, rung: str = "r0-fp32", scale: float = 1.0, features: int = 4, layers: int = 0, **changes: Any
    ) -> LoadRung:
        """Write a rung's file and return the request to load it; ``layers`` square layers of weights come first."""
        random = np.random.default_rng(layers)
        weights = [random.random((features, features), np.float32) for _ in range(layers)]
        weights.append(np.full((features, 2), scale, np.float32))
        names = [*(f"h{n}" for n in range(layers + 1)), "y"]
        names[0] = "x"
        graph = helper.make_graph(
            [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]]) for n in range(layers + 1)],
            "tiny",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", features])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
            [numpy_helper.from_array(array, f"w{n}") for n, array in enumerate(weights)],
        )
        return self.write(graph, rung, features, **changes)

    def write(self, graph: Any, rung: str, features: int, **changes: Any) -> LoadRung:
        """Write a graph with input x and output y as a rung's file and return the request to load it."""
        model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])
        data = model.SerializeToString()
        path = self.folder / f"{rung}.onnx"
        path.write_bytes(data)
        fields = {
            "rung": rung,
            "path": str(path),
            "sha256": hashlib.sha256(data).hexdigest(),
            "precision": rung.partition("-")[2],
            "name": "tiny",
            "inputs": (TensorSpec(name="x", shape=(-1, features)),),
            "outputs": (TensorSpec(name="y", shape=(-1, 2)),),
            "runtime": "onnxruntime",
            "providers": ("CPUExecutionProvider",),
        }
        return LoadRung(**{**fields, **changes})


class ServingWorker:
    """A worker process and what it said."""

    def __init__(self, spec: str = "127.0.0.1:0", **options: Any) -> None:
        self.listening = listening_socket(spec)
        self.events: queue.Queue[object] = queue.Queue()
        self.process = WorkerProcess(self.listening, self.events.put, **options)

    @property
    def address(self) -> str:
        """``HOST:PORT``, as tritonclient takes it."""
        return endpoint(self.listening).removeprefix("http://")

    def expect(self, kind: type[R]) -> R:
        """Wait for the next event, which must be of this kind."""
        event = self.events.get(timeout=60)
        assert isinstance(event, kind), event
        return event

    def close(self) -> None:
        """Kill it and wait for its end."""
        self.process.kill()
        self.process.wait(30)
        self.listening.close()


@pytest.fixture
def tiny_rungs(tmp_path: Path) -> TinyRungs:
    """A factory of tiny rungs whose files lie in the test's own folder."""
    return TinyRungs(tmp_path)


@pytest.fixture
def start_worker() -> Iterator[Callable[..., ServingWorker]]:
    """A function that starts a worker: ``start_worker(spec="127.0.0.1:0", max_body_bytes=…)``."""
    workers: list[ServingWorker] = []

    def start(spec: str = "127.0.0.1:0", **options: Any) -> ServingWorker:
        workers.append(ServingWorker(spec, **options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()
