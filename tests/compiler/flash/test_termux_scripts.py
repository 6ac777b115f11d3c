"""The script that Termux:Boot runs, really run by sh, on a SIMULATED phone with a real proot; the agent is a stand-in."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.simulated_phone import SimulatedPhone, alive

from secateur.flash.termux_scripts import boot_script, inside_script, stop_command

LIMIT_S = 60.0


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SimulatedPhone]:
    made = SimulatedPhone(tmp_path / "phone")
    try:
        yield made
    finally:
        made.close()


def _eventually(check: Callable[[], Any], said: Callable[[], str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not check():
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


class Script:
    """The start script, run by sh as Termux:Boot does, with an agent that ends as it is told to."""

    def __init__(self, simulated: SimulatedPhone, agent: str, **changes: Any) -> None:
        self.simulated, home = simulated, simulated.home
        simulated.install_debian()
        release = simulated.debian / "opt/secateur/current"
        (release / "bin").mkdir(parents=True)
        (release / "bin/python").write_text(f"#!/bin/sh\n{agent}\n")
        (release / "bin/python").chmod(0o755)
        (home / ".secateur").mkdir()
        (home / ".secateur/inside").write_text(inside_script())
        self.path = home / ".termux/boot/secateur"
        self.path.parent.mkdir(parents=True)
        self.path.write_text(boot_script(str(simulated.prefix), str(home), **changes))
        self.path.chmod(0o700)

    def start(self) -> int:
        """Start it as no child of the test's; return the exit status of one that ends at once."""
        ended = subprocess.run(
            ["sh", "-c", 'setsid "$0" & sleep 0.5; kill -0 $! 2>/dev/null || wait $!', self.path],
            env={"PATH": "/usr/bin:/bin"},
            check=False,
        )
        return ended.returncode

    def stop(self) -> None:
        environment = {"HOME": str(self.simulated.home), "PATH": "/usr/bin:/bin"}
        subprocess.run(["sh", "-c", stop_command()], env=environment, check=True)


def test_an_agent_that_ends_is_started_again_after_a_growing_pause(simulated: SimulatedPhone) -> None:
    script = Script(simulated, "echo it runs; exit 3", first_pause_s=1, longest_pause_s=2)
    script.start()
    _eventually(lambda: simulated.log().count("it runs") >= 4, simulated.log)
    pauses = [line.split("again in ")[1] for line in simulated.log().splitlines() if "again in" in line]
    assert pauses[:3] == ["1 s", "2 s", "2 s"]
    assert "(exit status 3)" in simulated.log()
    script.stop()
    assert simulated.log().rstrip().endswith("stopped")


def test_one_that_is_killed_is_started_again_and_a_second_script_is_none(simulated: SimulatedPhone) -> None:
    script = Script(simulated, "while :; do sleep 0.2; done", first_pause_s=1)
    script.start()
    _eventually(lambda: simulated.number("agent"), simulated.log)
    first, runner = simulated.number("agent"), simulated.number("runner")
    assert script.start() == 0
    assert simulated.number("runner") == runner
    assert alive(runner)
    os.kill(first, 9)
    _eventually(lambda: simulated.number("agent") not in (0, first), simulated.log)
    script.stop()


def test_what_an_agent_leaves_running_is_ended_with_it(simulated: SimulatedPhone) -> None:
    script = Script(simulated, "sleep 3600")
    script.start()
    _eventually(lambda: simulated.number("agent"), simulated.log)
    proot = simulated.number("proot")
    assert alive(proot)
    script.stop()
    assert not alive(proot)


def test_the_log_does_not_grow_beyond_its_limit(simulated: SimulatedPhone) -> None:
    script = Script(
        simulated,
        "n=0; while [ $n -lt 300 ]; do echo line $n; n=$((n + 1)); done; while :; do sleep 0.2; done",
        log_bytes=1000,
    )
    script.start()
    _eventually(lambda: "line 299" in simulated.log(), simulated.log)
    for name in ("agent.log", "agent.log.1"):
        assert (simulated.home / ".secateur" / name).stat().st_size <= 1000 + len("line 299\n")
    script.stop()
