"""Helper processes: one at a time, and each ending is told."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from secateur_agent.helper_processes import HelperEnded, HelperRunner, Job


def job(module: str, request: bytes = b"", owner: str = "o", time_limit_s: float = 30.0) -> Job:
    return Job(owner=owner, key="k", module=module, request=request, time_limit_s=time_limit_s)


def test_output_comes_back_in_order_and_one_runs_at_a_time() -> None:
    ended: queue.Queue[HelperEnded] = queue.Queue()
    runner = HelperRunner(ended.put)
    jobs = [job("json.tool", b"[1]"), job("json.tool", b"[2]")]
    for each in jobs:
        runner.submit(each)
    for each in jobs:
        result = ended.get(timeout=30)
        assert result.job is each
        assert ended.empty()
        runner.ended(result)
        assert result.output.split() == [b"[", each.request[1:2], b"]"]
    assert not runner.busy


def test_a_failure_is_one_line() -> None:
    ended: queue.Queue[HelperEnded] = queue.Queue()
    runner = HelperRunner(ended.put)
    runner.submit(job("no_such_module_at_all"))
    result = ended.get(timeout=30)
    assert "No module named" in result.error
    assert "\n" not in result.error
    assert not result.killed


def test_one_that_takes_too_long_or_is_cancelled_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endless_helper.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ended: queue.Queue[HelperEnded] = queue.Queue()
    runner = HelperRunner(ended.put)
    runner.submit(job("endless_helper", b"", time_limit_s=0.5))
    result = ended.get(timeout=30)
    runner.ended(result)
    assert result.killed
    assert "longer than 0.5 s" in result.error
    runner.submit(job("endless_helper", owner="a"))
    runner.submit(job("json.tool", b"[]", owner="a"))
    runner.submit(job("json.tool", b"[3]", owner="b"))
    runner.cancel("a")
    result = ended.get(timeout=30)
    runner.ended(result)
    assert (result.job.owner, result.killed) == ("a", True)
    assert ended.get(timeout=30).job.owner == "b"
