"""The Open Inference Protocol server in a real worker: tritonclient unchanged, limits, errors in the protocol's form."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from secateur_agent.inference.control import Loaded, StatsReply

MAX_BODY_BYTES = 1 << 16
ONES = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}


@pytest.fixture
def served(start_worker: Callable[..., Any], tiny_rungs: Any) -> Any:
    worker = start_worker(max_body_bytes=MAX_BODY_BYTES)
    worker.process.load(tiny_rungs.make(scale=2.0))
    worker.expect(Loaded)
    return worker


def call(address: str, method: str, path: str, body: Any = None, headers: Any = None) -> tuple[int, Any, Any]:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers
    finally:
        connection.close()


def triton_input(array: Any, binary: bool) -> Any:
    tensor = triton.InferInput("x", list(array.shape), "FP32")
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False, None])
@pytest.mark.parametrize("batch", [1, 3])
def test_tritonclient_infers_unchanged(served: Any, binary_input: bool, binary_output: bool | None, batch: int) -> None:
    x = np.arange(batch * 4, dtype=np.float32).reshape(batch, 4)
    outputs = None if binary_output is None else [triton.InferRequestedOutput("y", binary_data=binary_output)]
    with triton.InferenceServerClient(served.address) as client:
        result = client.infer("tiny", [triton_input(x, binary_input)], outputs=outputs, request_id="42")
    np.testing.assert_array_equal(result.as_numpy("y"), np.repeat(x.sum(1, keepdims=True) * 2, 2, axis=1))
    response = result.get_response()
    assert (response["id"], response["model_name"], response["parameters"]) == ("42", "tiny", {"rung": "r0-fp32"})


def test_tritonclient_reads_health_and_metadata(served: Any) -> None:
    with triton.InferenceServerClient(served.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny")
        assert client.is_model_ready("tiny", "1")
        assert not client.is_model_ready("other")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        metadata = client.get_model_metadata("tiny")
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert metadata["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
    assert metadata["parameters"] == {"rung": "r0-fp32"}


def test_tritonclient_infers_asynchronously_and_compressed(served: Any) -> None:
    x = np.ones((1, 4), np.float32)
    with triton.InferenceServerClient(served.address, concurrency=4) as client:
        pending = [client.async_infer("tiny", [triton_input(x * n, n % 2 == 0)]) for n in range(20)]
        for n, request in enumerate(pending):
            np.testing.assert_array_equal(request.get_result().as_numpy("y"), np.full((1, 2), 8.0 * n))
        for algorithm in ("gzip", "deflate"):
            result = client.infer(
                "tiny",
                [triton_input(x, True)],
                request_compression_algorithm=algorithm,
                response_compression_algorithm=algorithm,
            )
            np.testing.assert_array_equal(result.as_numpy("y"), [[8, 8]])


def test_tritonclient_gets_the_error_as_its_own_exception(served: Any) -> None:
    with triton.InferenceServerClient(served.address) as client:
        with pytest.raises(triton.InferenceServerException, match=r"input 'x': expected FP32 \[-1, 4\].*got FP32 \[1, 5\]"):
            client.infer("tiny", [triton_input(np.ones((1, 5), np.float32), True)])
        with pytest.raises(triton.InferenceServerException, match="model 'other': unknown; this device serves 'tiny'"):
            client.infer("other", [triton_input(np.ones((1, 4), np.float32), True)])


def test_the_header_names_the_rung_and_the_connection_is_kept(served: Any) -> None:
    connection = http.client.HTTPConnection(served.address, timeout=30)
    connection.connect()
    kept = connection.sock
    for _ in range(3):
        connection.request("POST", "/v2/models/tiny/versions/1/infer", json.dumps(ONES))
        response = connection.getresponse()
        assert json.loads(response.read())["outputs"][0]["data"] == [8.0, 8.0]
        assert response.headers["X-Secateur-Rung"] == "r0-fp32"
        assert connection.sock is kept
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "message"),
    [
        ("GET", "/", None, {}, 404, "no such address"),
        ("GET", "/v2/models/tiny/config", None, {}, 404, "no such address: config"),
        ("GET", "/v2/models/tiny/versions/2", None, {}, 404, "model version '2': unknown"),
        ("GET", "/v2/models/other", None, {}, 404, "model 'other': unknown"),
        ("GET", "/v2/models/tiny/infer", None, {}, 405, "GET is not possible here, POST is"),
        ("POST", "/v2", b"", {}, 405, "POST is not possible"),
        ("POST", "/v2/models/tiny/infer", b"", {}, 400, "request: "),
        ("POST", "/v2/models/tiny/infer", b"{", {}, 400, "request: "),
        ("POST", "/v2/models/tiny/infer", ONES, {"Inference-Header-Content-Length": "-1"}, 400, "expected a number"),
        ("POST", "/v2/models/tiny/infer", ONES, {"Inference-Header-Content-Length": "999"}, 400, "but the body has"),
        ("POST", "/v2/models/tiny/infer", ONES, {"Content-Encoding": "br"}, 415, "'br' is not one of"),
        ("POST", "/v2/models/tiny/infer", ONES, {"Content-Encoding": "gzip"}, 400, "body: not gzip"),
        ("POST", "/v2/models/tiny/infer", gzip.compress(bytes(1 << 20)), {"Content-Encoding": "gzip"}, 413, "limit"),
        ("POST", "/v2/models/tiny/infer", bytes(MAX_BODY_BYTES), {}, 400, "request: "),
        ("POST", "/v2/models/tiny/infer", bytes(MAX_BODY_BYTES + 1), {}, 413, "Request Entity Too Large"),
        ("POST", "/v2/models/tiny/infer", bytes(32 << 20), {}, 413, "Request Entity Too Large"),
    ],
)
def test_a_bad_request_gets_its_status_and_one_line(
    served: Any, method: str, path: str, body: Any, headers: dict[str, str], status: int, message: str
) -> None:
    got, answer, _ = call(served.address, method, path, body, headers)
    assert got == status
    assert list(answer) == ["error"]
    assert message in answer["error"]
    assert "\n" not in answer["error"]
    assert call(served.address, "POST", "/v2/models/tiny/infer", ONES)[0] == 200


def test_what_is_not_http_is_refused_in_the_protocols_form(served: Any) -> None:
    host, port = served.address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nbad header\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.split()[1] == b"400"
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("Bad Request")


def test_before_the_first_rung_it_is_live_but_not_ready(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    worker = start_worker()
    assert call(worker.address, "GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert call(worker.address, "GET", "/v2/health/ready")[:2] == (503, {"ready": False})
    status, answer, _ = call(worker.address, "POST", "/v2/models/tiny/infer", ONES)
    assert (status, answer["error"][:9]) == (503, "not ready")
    worker.process.load(tiny_rungs.make())
    worker.expect(Loaded)
    assert call(worker.address, "GET", "/v2/health/ready")[0] == 200


def test_requests_are_counted_and_only_those_that_are_our_fault_as_failed(
    start_worker: Callable[..., Any], tiny_rungs: Any
) -> None:
    worker = start_worker()
    infer = "/v2/models/tiny/infer"
    call(worker.address, "POST", infer, ONES)
    worker.process.load(tiny_rungs.make())
    worker.expect(Loaded)
    for body in (ONES, {}, ONES):
        call(worker.address, "POST", infer, body)
    call(worker.address, "GET", "/v2")
    worker.process.request_stats()
    stats = worker.expect(StatsReply)
    assert (stats.requests, stats.failed_requests, stats.in_flight, stats.rung) == (4, 1, 0, "r0-fp32")
    assert stats.latency_p50_ms is not None
    assert stats.rss_mb is not None
    assert stats.rss_mb > 10


def test_it_serves_on_a_unix_socket(start_worker: Callable[..., Any], tiny_rungs: Any, tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    worker = start_worker(f"unix:{path}")
    worker.process.load(tiny_rungs.make())
    worker.expect(Loaded)
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("POST", "/v2/models/tiny/infer", json.dumps(ONES))
    assert json.loads(connection.getresponse().read())["outputs"][0]["data"] == [4.0, 4.0]
    connection.close()
