from __future__ import annotations

import subprocess
import sys

import psutil
from tests.scripted_device import eventually

PARENT = """
import time
from secateur.fleet import recut_job

if __name__ == "__main__":
    pool = recut_job.new_pool()
    print(pool.submit(int, "7").result(), *pool._processes, flush=True)
    time.sleep(600)
"""


def test_the_process_that_cuts_does_not_outlive_a_killed_host() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    result, worker = map(int, parent.stdout.readline().split())
    assert result == 7
    assert psutil.pid_exists(worker)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually("the worker's end", lambda: not psutil.pid_exists(worker) or psutil.Process(worker).status() == "zombie")
