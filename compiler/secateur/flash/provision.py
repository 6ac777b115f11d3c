"""Puts a payload together: the configuration, what the board may trust, what it is known by, and its environment."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secateur.flash import unit
from secateur.flash.environment import Environment
from secateur.flash.payload import ENVIRONMENT, SETUP_PROGRAM, Payload, PayloadError, PayloadFile
from secateur.flash.setup_program import setup_program
from secateur_agent.inference.listen import ListenError, host_and_port
from secateur_agent.protocol.topics import TopicError, checked_id
from secateur_profiles import Profile

_CONFIG = "/etc/secateur"
_STATE = "/var/lib/secateur"
_FIRST_FREE_PORT = 1024
_MOST_SOCKET_PATH = 107  # sun_path of unix(7)


@dataclass(frozen=True)
class Access:
    """How one device reaches its host.

    Args:
        broker: ``mqtts://host:8883``; '' for a board that is to serve without a host.
        ca: certificate of the authority that signed the broker's, PEM; empty for the system's own.
        username: name at the broker; the device's id where passwords are per device.
        password: at the broker; empty for none.
        token: one-time token of the enrolment; empty if it is enrolled, or the host trusts a device on first use.
        keeps_password: whether the board has its password already and keeps it.
    """

    broker: str = ""
    ca: bytes = b""
    username: str = ""
    password: str = ""
    token: str = ""
    keeps_password: bool = False


def make_payload(
    device: str,
    profile: Profile,
    environment: Environment,
    trust_root: bytes,
    access: Access,
    *,
    profile_file: Path | None = None,
    listen: str = "127.0.0.1:8000",
    clock_s: float | None = None,
) -> Payload:
    """Return all files for one board.

    Args:
        device: its id.
        profile: its class.
        environment: the agent's environment for its Python and machine.
        trust_root: the public keys that may sign for it, as ``secateur keys`` wrote them.
        access: how it reaches the host.
        profile_file: the profile's file if it is not a built-in one; the board gets a copy.
        listen: where its inference server listens.
        clock_s: the time that it cannot be before, in Unix seconds; now if None.

    Raises:
        PayloadError: if the id is not usable, or the environment is not for the profile's runtime.
    """
    try:
        checked_id(device)
    except TopicError as error:
        raise PayloadError(f"device {error}") from None
    if environment.runtime != profile.runtime.name:
        raise PayloadError(
            f"profile {profile.name} runs {profile.runtime.name}, the environment is for {environment.runtime}"
        )
    files = {
        ENVIRONMENT: PayloadFile(environment.archive),
        "root.json": PayloadFile(trust_root),
        unit.NAME: PayloadFile(unit.unit_file(profile).encode()),
        SETUP_PROGRAM: PayloadFile(setup_program()),
    }
    if profile_file is not None:
        files["profile.toml"] = PayloadFile(profile_file)
    if access.ca:
        files["ca.pem"] = PayloadFile(access.ca)
    if access.password:
        files["broker-password"] = PayloadFile(f"{access.password}\n".encode(), secret=True)
    if access.token:
        files["enrolment-token"] = PayloadFile(f"{access.token}\n".encode(), secret=True)
    files["agent.toml"] = PayloadFile(_configuration(device, profile, access, files, listen).encode())
    files["provision.json"] = PayloadFile(_description(device, environment, files, clock_s or time.time()))
    return Payload(device, files)


def check_listen(listen: str) -> None:
    """Make sure that a board's agent may listen there: not as root, and with files of its own folder only.

    Raises:
        PayloadError: if it may not.
    """
    try:
        if listen.startswith("unix:"):
            path = Path(listen.removeprefix("unix:"))
            if path.parent != Path(_STATE) or len(str(path)) > _MOST_SOCKET_PATH:
                raise PayloadError(f"--listen {listen}: a socket of the agent lies in {_STATE}, as unix:{_STATE}/infer.sock")
        elif host_and_port(listen)[1] < _FIRST_FREE_PORT:
            raise PayloadError(f"--listen {listen}: the agent is not root; choose a port of {_FIRST_FREE_PORT} or more")
    except ListenError as error:
        raise PayloadError(f"--{error}") from None


def _configuration(device: str, profile: Profile, access: Access, files: Mapping[str, PayloadFile], listen: str) -> str:
    settings = {
        "device": device,
        "profile": f"{_CONFIG}/profile.toml" if "profile.toml" in files else profile.name,
        "state_dir": _STATE,
        "trust_root": f"{_CONFIG}/root.json",
        "listen": listen,
    }
    if access.broker:
        settings["broker"] = access.broker
    if access.username:
        settings["username"] = access.username
    if access.password or access.keeps_password:
        settings["password_file"] = f"{_CONFIG}/broker-password"
    if access.ca:
        settings["ca_file"] = f"{_CONFIG}/ca.pem"
    if access.token:
        settings["enrolment_token_file"] = f"{_STATE}/enrolment-token"
    # A JSON string of ASCII is a TOML basic string.
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    return "# Written by 'secateur flash'.\n" + "\n".join(lines) + "\n"


def _description(device: str, environment: Environment, files: Mapping[str, PayloadFile], clock_s: float) -> bytes:
    table = {
        "v": 1,
        "device": device,
        "release": environment.release,
        "python": environment.target.python,
        "machine": environment.target.machine,
        "unpacked_bytes": environment.unpacked_bytes,
        "clock_s": int(clock_s),
        "files": {name: {"sha256": file.sha256(), "size": file.size, "secret": file.secret} for name, file in files.items()},
    }
    return json.dumps(table, indent=1).encode() + b"\n"
