"""The options that say what boards get, which all commands of ``secateur flash`` have in common."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.bundle.keys import KeysError
from secateur.cli.flash_access import HostAccess, host_access
from secateur.cli.options import KeysOption, StateOption, keys_folder, state_folder
from secateur.flash import wheelhouse
from secateur.flash.cache import cache_folder
from secateur.flash.environment import Environment, build_environment
from secateur.flash.errors import FlashError
from secateur.flash.first_boot.mechanism import Found
from secateur.flash.payload import Payload
from secateur.flash.provision import check_listen, make_payload
from secateur.flash.systems import SYSTEMS, target_of_system
from secateur.flash.target import Target
from secateur_agent.trust import load_root
from secateur_profiles import Profile, load


class Payloads:
    """Makes what boards get: an environment once for each system, access for each board when it is written."""

    def __init__(
        self,
        profile: Profile,
        profile_file: Path | None,
        trust_root: Path,
        access: HostAccess,
        wheels: Path,
        extra_wheels: Path | None,
        system: str,
        listen: str,
    ) -> None:
        self.profile, self.access = profile, access
        self._profile_file, self._trust_root = profile_file, trust_root
        self._wheels, self._extra, self._system, self._listen = wheels, extra_wheels, system, listen
        self._environments: dict[Target, Environment] = {}

    def prepare(self, found: Found) -> None:
        """Make all that does not depend on the device, so that what cannot be had is known before a card is erased.

        Raises:
            FlashError: if it is not known what the image's Python is.
            secateur.flash.pip.PipError: if a wheel cannot be had.
        """
        self._environment(self._target(found))

    def payload_for(self, device: str, found: Found) -> Payload:
        """Return what the board of an image gets: a new password and a new token."""
        return self.payload_on(device, self._target(found), False)

    def payload_on(self, device: str, target: Target, same: bool) -> Payload:
        """Return what a board that runs gets.

        Args:
            device: its id.
            target: its system.
            same: whether it is this device already; if the host knows it, it keeps its key and its password.
        """
        environment = self._environment(target)
        if not same:
            self.access.require_free([device])
        access = (self.access.kept(device) if same else None) or self.access.new(device)
        root = self._trust_root.read_bytes()
        return make_payload(
            device, self.profile, environment, root, access, profile_file=self._profile_file, listen=self._listen
        )

    def _target(self, found: Found) -> Target:
        if self._system:
            machine = found.target.machine if found.target is not None else self.profile.cpu.arch
            return target_of_system(self._system, machine, "--system")
        if found.target is None:
            raise FlashError(
                f"{found.system}: its boot partition does not tell which release it is; say it with --system "
                f"({', '.join(SYSTEMS)})"
            )
        return found.target

    def _environment(self, target: Target) -> Environment:
        if target.machine != self.profile.cpu.arch:
            raise FlashError(
                f"profile {self.profile.name} is for {self.profile.cpu.arch}, the board is {target.machine}; "
                "take the board's own profile"
            )
        if target not in self._environments:
            wheels = wheelhouse.ensure(target, self.profile.runtime.name, self._wheels, self._extra)
            self._environments[target] = build_environment(wheels, cache_folder("environments"))
        return self._environments[target]


def payload_factory(
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="Device profile of the boards; see 'secateur profiles list'.", show_default=False
        ),
    ],
    broker_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of 'secateur broker config': each board gets a password.", show_default=False
        ),
    ] = None,
    broker: Annotated[
        str,
        typer.Option(metavar="URL", help="Address of the broker for boards, if not that of the folder.", show_default=False),
    ] = "",
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CA certificate of another mqtts broker.", show_default=False)
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Password of a broker with one user for all boards.", show_default=False),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Boards may take the ids of devices that are enrolled already.")
    ] = False,
    no_broker: Annotated[bool, typer.Option("--no-broker", help="The boards serve by themselves, without a host.")] = False,
    state: StateOption = None,
    keys: KeysOption = None,
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where the boards' inference servers listen.")
    ] = "127.0.0.1:8000",
    system: Annotated[
        str,
        typer.Option(
            metavar="CODENAME", help=f"Release of the image if it does not tell: {', '.join(SYSTEMS)}.", show_default=False
        ),
    ] = "",
    wheelhouse_folder: Annotated[
        Path | None,
        typer.Option(
            "--wheelhouse", metavar="DIR", help="Where wheels are kept, for work without a network.", show_default=False
        ),
    ] = None,
    extra_wheels: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Wheels that no index has, such as a Jetson's onnxruntime_gpu.", show_default=False
        ),
    ] = None,
) -> Payloads:
    """Return what boards get; its parameters are options of every command that has `with_payload`."""
    if not profile:
        raise FlashError("say which boards these are: --profile NAME; see 'secateur profiles list'")
    if _by_sudo() and (keys is None or (state is None and not no_broker)):
        raise FlashError(
            "run by sudo: keys and tokens would be root's, which your controller does not know; "
            "run it without, or give --keys and --state"
        )
    root = keys_folder(keys) / "root.json"
    try:
        there = root.exists()
    except OSError as error:
        raise KeysError(f"keys {root.parent}: {error.strerror}") from None
    if not there:
        raise KeysError(f"keys {root.parent}: none there; create them with 'secateur keys init'")
    load_root(root)
    check_listen(listen)
    found = load(profile)
    return Payloads(
        found,
        Path(profile) if profile.endswith(".toml") or "/" in profile else None,
        root,
        host_access(state_folder(state), broker, broker_folder, ca_file, password_file, no_broker, replace),
        wheelhouse_folder or cache_folder("wheelhouse"),
        extra_wheels,
        system,
        listen,
    )


def _by_sudo() -> bool:
    return os.geteuid() == 0 and os.environ.get("SUDO_UID", "0") != "0" and Path.home() == Path("/root")


def with_payload(command: Callable[..., None], profile: str = "", later: bool = False) -> Callable[..., None]:
    """Give a command the options of `payload_factory`; it gets their result as ``payloads``.

    Args:
        command: a command with a keyword parameter ``payloads``.
        profile: the profile unless another one is given; '' if it must be given.
        later: the command gets a function that returns the result, since it does not always need it; only then the
            profile must be given.
    """
    own = [one for one in _parameters(command) if one.name != "payloads"]
    shared = [
        one.replace(default=profile) if one.name == "profile" and (profile or later) else one
        for one in _parameters(payload_factory)
    ]

    @wraps(command)
    def wrapped(**values: Any) -> None:
        make = partial(payload_factory, **{one.name: values.pop(one.name) for one in shared})
        command(payloads=make if later else make(), **values)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *shared)]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    return wrapped


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())
