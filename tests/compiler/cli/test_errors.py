from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from tests.ports import free_port

import secateur_profiles
from secateur.bundle.keys import KeysError
from secateur.cli.errors import run
from secateur.fleet.serve import ServeError
from secateur_agent.bundle.manifest import BundleError
from secateur_agent.protocol.messages import MessageError


def app_that_raises(error: BaseException) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def only() -> None:
        raise error

    return app


class Infeasible(ServeError):
    exit_code = 3


@pytest.mark.parametrize(
    "error",
    [
        KeysError("keys x: none there\nsecond line"),
        ServeError("port in use"),
        BundleError("altered"),
        MessageError("malformed"),
        secateur_profiles.ProfileError("f", "k", "r"),
    ],
)
def test_our_errors_are_one_line_and_status_1(error: ValueError, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app_that_raises(error), []) == 1
    written = capsys.readouterr().err
    assert written.startswith("secateur: ")
    assert written.count("\n") == 1


def test_an_error_may_choose_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app_that_raises(Infeasible("infeasible; the nearest is …")), []) == 3


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="a bug"):
        run(app_that_raises(ValueError("a bug")), [])


def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app_that_raises(KeyboardInterrupt()), []) == 130
    assert "Traceback" not in capsys.readouterr().err


def secateur(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "secateur.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["push", "x"], ["pin", "a", "b", "c"], ["telemetry", "d", "--limit", "x"]]
)
def test_wrong_usage_is_one_line_and_status_2(arguments: list[str]) -> None:
    done = secateur(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("secateur: ")
    assert done.stderr.count("\n") == 1
    assert "--help" in done.stderr


def test_the_manual_names_every_command_and_has_no_colours_in_a_pipe() -> None:
    done = secateur("--help")
    assert done.returncode == 0
    for name in (
        "serve",
        "broker",
        "push",
        "devices",
        "telemetry",
        "events",
        "pin",
        "policy",
        "command",
        "keys",
        "profiles",
    ):
        assert f"\n  {name} " in done.stdout
    assert "\x1b" not in done.stdout


def test_help_waits_for_no_library_that_only_the_work_needs() -> None:
    """Loading all that the commands use takes seconds; what is typed most is help, and commands with a mistake."""
    heavy = ("torch", "onnx", "onnxruntime", "numpy", "sqlalchemy", "asyncssh", "cryptography", "paho.mqtt", "tuf")
    program = f"import sys; import secateur.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_group_without_a_command_prints_its_help() -> None:
    done = secateur("devices")
    assert done.returncode == 2
    assert "list" in done.stderr
    assert not done.stderr.startswith("secateur:")


def test_ctrl_c_ends_a_running_broker_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "secateur.cli", "broker", "--port", str(free_port())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "broker ready on mqtt://127.0.0.1:" in process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors
