"""The service manager: systemd where it runs, none where it does not (a container, Termux, an image that is not running)."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from .errors import SetupError
from .layout import UNIT, Layout

COMMAND_LIMIT_S = 60.0
HEALTH_LIMIT_S = 180.0
STEADY_S = 10.0
"""A service that was not restarted for so long after it said that it is ready has started."""
MOST_RESTARTS = 5
"""One that ended so often by itself will not start."""


def is_systemd(layout: Layout) -> bool:
    """Whether this is a running system with systemd."""
    return layout.live and (layout.root / "run/systemd/system").is_dir()


def systemctl(*arguments: str, check: bool = True) -> str:
    """Run systemctl and return what it printed.

    Raises:
        SetupError: if it fails or does not end, and ``check`` is set.
    """
    try:
        done = subprocess.run(
            ["systemctl", *arguments], capture_output=True, text=True, timeout=COMMAND_LIMIT_S * 3, check=False
        )
    except subprocess.TimeoutExpired as error:
        if not check:  # a service that never gets ready: whoever looks at its state decides
            return ""
        raise SetupError(f"systemctl {' '.join(arguments)}: {error}") from None
    except OSError as error:
        raise SetupError(f"systemctl {' '.join(arguments)}: {error}") from None
    if check and done.returncode:
        text = " ".join((done.stderr or done.stdout).split())[:300]
        raise SetupError(f"systemctl {' '.join(arguments)}: {text or f'exit status {done.returncode}'}")
    return done.stdout


def is_booting(layout: Layout) -> bool:
    """Whether the system is still starting: what this runs in is then a job that others wait for."""
    return is_systemd(layout) and systemctl("is-system-running", check=False).strip() in ("initializing", "starting")


def enable(layout: Layout) -> None:
    """Let the agent start at boot."""
    if is_systemd(layout):
        systemctl("daemon-reload")
        systemctl("enable", "--quiet", UNIT)
    else:
        layout.wanted.parent.mkdir(parents=True, exist_ok=True)
        layout.wanted.unlink(missing_ok=True)
        layout.wanted.symlink_to(f"../{UNIT}")


def disable(layout: Layout) -> None:
    """Stop the agent and let it not start again."""
    if is_systemd(layout) and layout.unit.exists():
        systemctl("disable", "--quiet", "--now", UNIT, check=False)
    layout.wanted.unlink(missing_ok=True)


def forget(layout: Layout) -> None:
    """Tell systemd that the unit is gone."""
    if is_systemd(layout):
        systemctl("daemon-reload", check=False)
        systemctl("reset-failed", UNIT, check=False)


def restart(layout: Layout, wait: bool) -> None:
    """Start the agent, or start it again."""
    if is_systemd(layout):
        systemctl("reset-failed", UNIT, check=False)
        # Without waiting: at first boot this runs inside the job that the agent is ordered behind.
        systemctl("restart", *([] if wait else ["--no-block"]), UNIT, check=False)


def wait_healthy(layout: Layout, served: bool, say: Callable[[str], None], limit_s: float = HEALTH_LIMIT_S) -> str:
    """Wait until the agent has started for good, and serves what it served before.

    Args:
        layout: where things lie.
        served: whether it served a model before; where it listens may have changed since.
        say: told when a wait begins.
        limit_s: how long to wait.

    Returns:
        '' or why it is not healthy.
    """
    if not is_systemd(layout):
        return ""
    deadline, since, restarts = time.monotonic() + limit_s, 0.0, -1
    say("waiting until the agent has started")
    while time.monotonic() < deadline:
        shown = _properties()
        if shown.get("ActiveState") == "failed":
            return f"the service has failed ({shown.get('Result', '')}); see 'journalctl -u {UNIT}'"
        count = int(shown.get("NRestarts", "0") or 0)
        if count >= MOST_RESTARTS:
            return f"the agent ended {count} times by itself; see 'journalctl -u {UNIT}'"
        if shown.get("ActiveState") != "active" or count != restarts:
            since, restarts = time.monotonic(), count
        elif time.monotonic() - since >= STEADY_S and (not served or _serves(layout)):
            return ""
        time.sleep(0.5)
    return f"the agent did not {'serve its model' if served else 'start'} within {limit_s:.0f} s; see 'journalctl -u {UNIT}'"


def _properties() -> dict[str, str]:
    text = systemctl("show", "-p", "ActiveState,Result,NRestarts", UNIT, check=False)
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _answers(listen: str) -> bool:
    """Whether the server says that it is ready (Open Inference Protocol, health)."""
    try:
        with urllib.request.urlopen(f"http://{listen}/v2/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def has_model(layout: Layout) -> bool:
    """Whether the agent runs and has a model, as the installed agent itself tells."""
    return _listens(layout) != ""


def _serves(layout: Layout) -> bool:
    listen = _listens(layout)
    return listen.startswith("unix:") or (listen != "" and _answers(listen))


def _listens(layout: Layout) -> str:
    """Where the server of the current release listens if it runs and has a model; else ''."""
    command = [str(layout.current / "bin/python"), "-I", "-m", "secateur_agent", "status", "--json"]
    command += ["--config", str(layout.config / "agent.toml")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False)
        status: dict[str, Any] = json.loads(done.stdout)
        return str(status["listen"]) if status["model"] and status["running"] else ""
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return ""
