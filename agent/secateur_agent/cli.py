"""The command ``secateur-agent``. Every error is one line on standard error and an exit status other than 0."""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import secateur_agent
from secateur_agent.config import load_config
from secateur_agent.enrolment_record import describe
from secateur_agent.identity import new_boot_id
from secateur_agent.inference.listen import listening_socket
from secateur_agent.install.machine import load_state
from secateur_agent.link import BrokerAddress, Link
from secateur_agent.offline import AnyLink, NoBroker
from secateur_agent.startup import Setup, is_held, prepare

_LISTEN_VARIABLE = "SECATEUR_AGENT_LISTENING"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except BrokenPipeError:  # whoever read the output has gone
        sys.stdout = None
        return 1
    except (ValueError, OSError) as error:  # all errors of ours are ValueErrors of one line
        print(f"secateur-agent: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="secateur-agent", description="Serves a ladder of nested networks.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve, and follow the host")
    run.set_defaults(run=_run)
    install = commands.add_parser("install", help="install a bundle that lies on this device; no broker needed")
    install.add_argument("bundle", metavar="BUNDLE", type=Path, help="folder NAME-PROFILE.bundle")
    install.set_defaults(run=_install)
    status = commands.add_parser("status", help="what is installed, and whether the agent runs")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=_status)
    for command in (run, install, status):
        command.add_argument("--config", metavar="FILE", type=Path, required=True, help="the TOML configuration")
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _run(options: argparse.Namespace) -> int:
    setup = prepare(options.config)
    try:
        return _serve(setup, options.config)
    finally:
        setup.release()


def _serve(setup: Setup, config: Path) -> int:
    from secateur_agent.supervisor import INBOX_EVENTS, Stop, Supervisor

    inbox: queue.Queue[Any] = queue.Queue(INBOX_EVENTS)
    boot = new_boot_id()
    link = _link(setup, boot, inbox)
    listening = _listening(setup.config.listen)

    def stop(_number: int, _frame: object) -> None:
        # The interrupted thread may hold the queue's lock, so another one has to put it in.
        threading.Thread(target=inbox.put, args=(Stop(),), daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if Supervisor(setup, listening, inbox, link, boot).run() == "restart":
        _start_again(listening, setup.config.listen, config)
    if setup.config.listen.startswith("unix:"):
        Path(setup.config.listen.removeprefix("unix:")).unlink(missing_ok=True)
    return 0


def _link(setup: Setup, boot: str, inbox: queue.Queue[Any]) -> AnyLink:
    config = setup.config
    if not config.broker:
        return NoBroker()
    return Link(
        config.device,
        boot,
        BrokerAddress.parse(config.broker),
        inbox,
        username=config.username or None,
        password=config.password() or None,
        ca_file=Path(config.ca_file) if config.ca_file else None,
    )


def _listening(spec: str) -> socket.socket:
    """Open the listening socket, or take over the one that the process before a restart left open."""
    descriptor, _, kept_spec = os.environ.pop(_LISTEN_VARIABLE, "").partition(" ")
    if descriptor.isdigit() and kept_spec == spec:
        try:
            kept = socket.socket(fileno=int(descriptor))
        except OSError:
            return listening_socket(spec)
        kept.set_inheritable(False)
        return kept
    return listening_socket(spec)


def _start_again(listening: socket.socket, spec: str, config: Path) -> None:
    """Become a new process of the same id; requests wait on the listening socket meanwhile."""
    listening.set_inheritable(True)
    os.environ[_LISTEN_VARIABLE] = f"{listening.fileno()} {spec}"
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "secateur_agent", "run", "--config", str(config)])


def _install(options: argparse.Namespace) -> int:
    from secateur_agent.install.by_hand import install_by_hand

    setup = prepare(options.config)
    try:
        name = install_by_hand(setup, options.bundle, lambda line: print(line, flush=True))
    finally:
        setup.release()
    print(f"{name} is installed; 'secateur-agent run' serves it")
    return 0


def _status(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    state, problem = load_state(config.state_path / "install.json")
    enrolment, why = describe(config)
    found = {
        "device": config.device,
        "profile": config.profile,
        "running": is_held(config.state_path),
        "listen": config.listen,
        "enrolment": enrolment,
        "enrolment_text": why,
        "install": state.step,
        "model": state.committed.model.name if state.committed else "",
        "manifest_sha256": state.committed.manifest_sha256 if state.committed else "",
        "set_aside": state.committed.set_aside if state.committed else {},
        "installing": state.target.name if state.target else "",
        "rollback_possible": state.previous is not None,
        "fault": problem or state.fault,
    }
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for key, value in found.items():
        print(f"{key:<18} {value if value not in ('', {}) else '-'}")
    return 0


def _version(_: argparse.Namespace) -> int:
    print(secateur_agent.__version__)
    return 0
