from __future__ import annotations

import os
import subprocess
import sys

from secateur_agent.sensors.process import ProcessMemory


def test_resident_memory_of_a_living_process():
    reading = ProcessMemory(os.getpid).read()["worker_rss_mb"]
    assert reading.quality == "measured"
    assert reading.value is not None
    assert 5 < reading.value < 4096


def test_no_worker_is_unavailable():
    assert ProcessMemory(lambda: None).read()["worker_rss_mb"].note == "no worker is running"


def test_worker_that_ended_is_unavailable_and_not_zero():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        sensor = ProcessMemory(lambda: child.pid)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert sensor.read()["worker_rss_mb"].value is None  # ended, not yet waited for
    assert sensor.read()["worker_rss_mb"].value is None


def test_absurd_process_id_is_unavailable():
    assert ProcessMemory(lambda: -7).read()["worker_rss_mb"].value is None
    assert ProcessMemory(lambda: 10**30).read()["worker_rss_mb"].value is None
