"""A device measures, its table is stored, a compilation plans from it; whoever ends in the middle, it goes on."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.system.command_line import Cli
from tests.system.conftest import DEVICE
from tests.system.stack import Stack

from secateur.search.latency_table import read_table
from secateur_profiles import load

BATCH_MODULE = "secateur_agent.profiling.batch"


@pytest.fixture
def running(make_stack: Callable[..., Stack], tmp_path: Path) -> tuple[Stack, Cli]:
    stack = make_stack()
    stack.eventually("ladder", lambda: (stack.call("device", DEVICE)["reported"] or {}).get("rungs"))
    return stack, Cli(tmp_path, stack)


def test_a_device_measures_and_a_compilation_plans_from_what_it_found(
    running: tuple[Stack, Cli], model: Path, tmp_path: Path
) -> None:
    stack, cli = running
    options = ["--model", model, "--precision", "fp32", "--rounds", 1]
    made = cli.run("measure", DEVICE, *options)
    assert {each["rung"] for each in made["rungs"]["measurements"]} == {"r0-fp32", "r1-fp32", "r2-fp32"}
    how = made["rungs"]["how"]["r0-fp32"]
    assert (how["threads"], how["warmup"]) == (1, 3)
    assert how["runs"] >= 30
    assert how["energy_source"]
    table = read_table(Path(made["table"]))
    birth = stack.call("device", DEVICE)["birth"]
    assert (table.key.device, table.key.profile, table.key.precision) == (DEVICE, "linux-x86-64", "fp32")
    assert (table.key.runtime_version, table.key.threads) == (birth["runtime_version"], 1)
    assert table.calibration.checked >= 2
    assert made["points"] > 10
    assert cli.under_way() is None
    assert not list((stack.host.state / "packs").iterdir())
    assert not list((stack.agent.state / "store" / "blobs").glob("*.part"))

    compiling = ["compile", model, "--task", model.with_name("task.npz"), "--profile", "linux-x86-64", "--rungs", 2]
    compiling += ["--steps", 0]
    fp32 = ["--precision", "fp32", "--measured-on", DEVICE]
    report = cli.run(*compiling, *fp32, "-o", tmp_path / "a")
    assert {rung["latency_source"] for rung in report["profiles"][0]["rungs"]} == {"measured"}
    line = cli.refused(*compiling, "--precision", "int8", "--measured-on", DEVICE, "-o", tmp_path / "b")
    assert "is for precision fp32, not int8" in line
    assert f"secateur measure {DEVICE} --precision int8" in line
    assert "no table is stored" in cli.refused(*compiling, "--measured-on", "board-9", "-o", tmp_path / "b")

    assert [each["shared"] for each in cli.run("tables", "list")] == [False]
    (adopted,) = cli.run("tables", "adopt", DEVICE)
    assert Path(adopted["table"]).parent == cli.data / "secateur" / "latency"
    assert {each["shared"] for each in cli.run("tables", "list")} == {True, False}

    assert "'board-9': unknown" in cli.refused("measure", "board-9", *options)
    assert "none of fp16 can be built" in cli.refused("measure", DEVICE, "--precision", "fp16")
    stack.agent.stop()
    stack.eventually("farewell", lambda: stack.call("device", DEVICE)["state"] == "disconnected")
    assert "it is offline (disconnected)" in cli.refused("measure", DEVICE, *options)


def test_a_hot_board_is_noticed_and_its_points_are_marked(
    make_stack: Callable[..., Stack], model: Path, tmp_path: Path
) -> None:
    """On a recorded tree of a board at 90 °C, where the profile says that it slows down."""
    zone = tmp_path / "tree" / "sys" / "class" / "thermal" / "thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal")
    throttle_c = load("linux-x86-64").thermal.throttle_c
    (zone / "temp").write_text(str(round(1000 * (throttle_c + 2))))
    stack = make_stack(sysfs_root=str(tmp_path / "tree"), simulated="a recorded tree of a hot board")
    stack.eventually("ladder", lambda: (stack.call("device", DEVICE)["reported"] or {}).get("rungs"))
    cli = Cli(tmp_path, stack)
    made = cli.run("measure", DEVICE, "--model", model, "--precision", "fp32", "--rounds", 1)
    told = f"{throttle_c + 2:.0f} °C, and the board slows down from {throttle_c:g} °C"
    assert made["slowed"] == told
    assert made["slowed_points"] == made["points"] > 0
    assert {how["slowed"] for how in made["rungs"]["how"].values()} == {told}
    (shown,) = cli.run("tables", "show", DEVICE)["tables"]
    assert shown["slowed_points"] == made["points"]


def test_an_agent_that_is_killed_in_the_middle_goes_on(running: tuple[Stack, Cli], model: Path) -> None:
    stack, cli = running
    measuring = cli.start("measure", DEVICE, "--model", model, "--precision", "fp32", "--rounds", 12, "--no-rungs", "--json")
    before = stack.eventually("first batch", lambda: (known := cli.under_way()) and known.files and known)
    stack.eventually("next batch", lambda: stack.helpers(BATCH_MODULE))
    stack.kill_and_restart("agent")
    out, err = measuring.communicate(timeout=300)
    assert measuring.returncode == 0, err
    assert json.loads(out)["points"] > 10
    sent = [command for command in stack.call("commands", DEVICE) if command["body"] == "measure"]
    assert {command["status"] for command in sent} == {"done"}
    first = {timing["file"]: timing["p50_ms"] for timing in sent[0]["result"]["timings"]}
    kept = [each.p50_ms for each in before.files.values()]
    assert [first[index] for index in range(len(kept))] == kept, "what was timed before the kill was timed again"
    events = [event["text"] for event in stack.call("events", DEVICE)]
    assert any(text.endswith("goes on") for text in events)


def test_a_measurement_that_the_user_interrupts_goes_on_with_what_is_missing(
    running: tuple[Stack, Cli], model: Path
) -> None:
    stack, cli = running
    # So many rounds that it is not over before this hears of its first batch.
    options = ["measure", DEVICE, "--model", model, "--precision", "fp32", "--rounds", 18, "--no-rungs"]
    measuring = cli.start(*options)
    before = stack.eventually("first batch", lambda: (known := cli.under_way()) and known.files and known)
    measuring.send_signal(signal.SIGINT)
    _, err = measuring.communicate(timeout=60)
    assert measuring.returncode == 130
    assert "Traceback" not in err
    assert "run the same command again to go on" in err
    held = cli.under_way()
    assert held is not None
    assert held.files.items() >= before.files.items()
    again = cli.run(*options)
    assert again["points"] > 10
    packs = [c["result"]["total"] for c in stack.call("commands", DEVICE) if c["body"] == "measure"]
    assert packs[1] == packs[0] - len(held.files) or len(packs) > 2


def test_a_device_that_stays_away_ends_the_command_and_keeps_its_times(running: tuple[Stack, Cli], model: Path) -> None:
    stack, cli = running
    options = ["--model", model, "--precision", "fp32", "--rounds", 12, "--no-rungs", "--patience", "2s"]
    measuring = cli.start("measure", DEVICE, *options)
    stack.eventually("first batch", lambda: (known := cli.under_way()) and known.files)
    stack.agent.kill()
    _, err = measuring.communicate(timeout=120)
    assert measuring.returncode == 1
    line = err.splitlines()[-1]
    assert "it has been away for" in line
    assert "run the same command again to go on" in line
    assert (known := cli.under_way()) is not None
    assert known.files
