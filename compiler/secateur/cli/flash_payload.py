"""The options that say what boards get, which all commands of ``secateur flash`` have in common."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.flash.first_boot.mechanism import Found
from secateur.flash.payload import Payload, PayloadError, PayloadFile


@dataclass(frozen=True)
class Payloads:
    """What boards get.

    Args:
        payload_for: from a device id and what its image is (None: it was asked, over SSH) to the payload.
        config_lines: lines for ``config.txt`` that the profile's sensors need, such as ``dtparam=i2c_arm=on``.
    """

    payload_for: Callable[[str, Found | None], Payload]
    config_lines: tuple[str, ...] = ()


def payload_factory(
    payload: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="A folder with all files of the payload; {} in its name is the device id.",
            show_default=False,
        ),
    ],
) -> Payloads:
    """Return what boards get; its parameters are options of every command that has `with_payload`."""
    return Payloads(lambda device, _found: _read_folder(Path(str(payload).replace("{}", device)), device))


def with_payload(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `payload_factory`; it gets their result as ``payloads``.

    Args:
        command: a command with a keyword parameter ``payloads``.
    """
    own = [one for one in _parameters(command) if one.name != "payloads"]
    shared = _parameters(payload_factory)

    @wraps(command)
    def wrapped(**values: Any) -> None:
        command(payloads=payload_factory(**{one.name: values.pop(one.name) for one in shared}), **values)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *shared)]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    return wrapped


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())


def _read_folder(folder: Path, device: str) -> Payload:
    try:
        described = json.loads((folder / "provision.json").read_bytes())
        if described["device"] != device:
            raise PayloadError(f"payload {folder}: it is for device {described['device']!r}, not for {device!r}")
        secret = {name for name, entry in described["files"].items() if entry["secret"]}
        return Payload(device, {path.name: PayloadFile(path, path.name in secret) for path in sorted(folder.iterdir())})
    except (OSError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise PayloadError(f"payload {folder}: cannot be read ({error}); is it a payload folder?") from None
