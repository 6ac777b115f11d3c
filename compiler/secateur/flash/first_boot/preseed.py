"""``rpi-preseed.toml`` and ``custom.toml``: images that take their settings from one TOML file.

Formats: schema/rpi-preseed.schema of raspberrypi/rpi-preseed, configuration version 1; ``init_config`` of
raspberrypi-sys-mods for ``custom.toml``. Neither is for a program that takes a minute: rpi-preseed gives an early command
5 s and has a late one wait for the network's clock, custom.toml runs none. So the setup program goes by ``systemd.run=``, as
with `firstrun`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from secateur.flash.errors import FlashError
from secateur.flash.fat import FatPartition
from secateur.flash.first_boot.firstrun import firmware_files, refuse_foreign_script
from secateur.flash.first_boot.mechanism import Found, Mechanism
from secateur.flash.first_boot.raspberry import FIRMWARE, is_raspberry, mount_point, system
from secateur.flash.first_boot.script import SCRIPT, first_run, run_words
from secateur.flash.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FILES: dict[str, Any] = {"rpi-preseed.toml": "1.0", "custom.toml": 1}
"""Name → configuration version, in the type that its reader wants."""


class Preseed(Mechanism):
    """Settings are merged into the file that is there; the rest of it stays."""

    name = "preseed"
    images = "rpi-preseed.toml or custom.toml beside cmdline.txt"

    def detect(self, boot: FatPartition, where: str) -> Found | None:
        """See `Mechanism.detect`."""
        file = _file(boot)
        if file is None or not is_raspberry(boot) or boot.has("user-data"):
            return None
        refuse_foreign_script(boot, where)
        _read(boot, file, where)
        first = "init=/usr/lib/raspberrypi-sys-mods/firstboot" in boot.text("cmdline.txt")
        name, target = system(boot, "bookworm" if file == "custom.toml" or first else "trixie", where)
        return Found(self.name, f"{file} beside cmdline.txt", name, mount_point(boot) or FIRMWARE, target)

    def files(self, boot: FatPartition, found: Found, settings: Settings) -> Mapping[str, bytes]:
        """See `Mechanism.files`."""
        file = _file(boot) or next(iter(_FILES))
        table = _read(boot, file, file)
        for section, values in _sections(settings).items():
            table.setdefault(section, {}).update(values)
        written = {file: _toml(table, file), SCRIPT: first_run(found.folder, [])}
        return {**written, **firmware_files(boot, settings, run_words(found.folder))}


def _file(boot: FatPartition) -> str | None:
    return next((name for name in _FILES if boot.has(name)), None)


def _read(boot: FatPartition, file: str, where: str) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(boot.text(file))
    except (tomllib.TOMLDecodeError, UnicodeEncodeError) as error:
        raise FlashError(f"{where}: {file}: not TOML: {error}; mend it or remove it from the boot partition") from None
    table.setdefault("config_version", _FILES[file])
    for section, values in table.items():
        if section != "config_version" and not isinstance(values, dict):
            raise FlashError(f"{where}: {file}: {section!r} is outside of a section; mend the file, or remove it")
    return table


def _sections(settings: Settings) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {"system": {"hostname": settings.hostname}}
    if settings.user is not None:
        user = settings.user
        sections["user"] = {"name": user.name}
        if user.password_hash:
            sections["user"] |= {"password": user.password_hash, "password_encrypted": True}
        sections["ssh"] = {"enabled": True, "password_authentication": not user.authorized_keys}
        if user.authorized_keys:
            sections["ssh"]["authorized_keys"] = list(user.authorized_keys)
    if settings.wifi is not None:
        wifi = settings.wifi
        sections["wlan"] = {"ssid": wifi.ssid, "hidden": False, "country": wifi.country}
        if wifi.psk:
            sections["wlan"] |= {"password": wifi.psk, "password_encrypted": True}
    return sections


def _toml(table: Mapping[str, Any], file: str) -> bytes:
    lines = [f"config_version = {_value(table['config_version'], file)}"]
    for section, values in table.items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]", *(f"{key} = {_value(value, file)}" for key, value in values.items())]
    return ("\n".join(lines) + "\n").encode()


def _value(value: Any, file: str) -> str:
    """Write a value as rpi-preseed's own reader takes it: one line, and no escapes but of '\\' and '"'."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(one, file) for one in value)}]"
    if isinstance(value, str) and value.isprintable():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    raise FlashError(f"{file}: {value!r} is a value that its reader does not take; mend the file, or remove it")
