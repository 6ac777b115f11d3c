"""The agent's configuration: one TOML file; every mistake in it is one line with file, key and reason."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from secateur_agent.protocol.topics import TopicError, checked_id

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Seconds = Annotated[float, Meta(ge=0.05, le=3600)]
Text = Annotated[str, Meta(max_length=500)]


class ConfigError(ValueError):
    """A configuration that cannot be used.

    Args:
        file: the configuration file.
        key: the offending key, or "(file)" if the file as a whole is at fault.
        reason: what is wrong and how to mend it.
    """

    def __init__(self, file: str, key: str, reason: str) -> None:
        super().__init__(f"{file}: {key}: {reason}")
        self.file = file
        self.key = key
        self.reason = reason


class Config(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a device is told about itself. Paths may be relative to the folder of the file."""

    device: Text
    """Id of the device, unique in the fleet; part of its topics."""
    profile: Text
    """Name of a built-in device profile, or the path of a ``.toml`` file."""
    state_dir: Text
    """Folder for all that the agent keeps; created with mode 0700."""
    trust_root: Text
    """File with the public keys that may sign bundles, re-cut rungs and commands."""
    broker: Text = ""
    """``mqtt://host:1883`` or ``mqtts://host:8883``; empty: no broker, the agent serves what was installed by hand."""
    username: Text = ""
    password_file: Text = ""
    ca_file: Text = ""
    enrolment_token_file: Text = ""
    """File with the one-time token of a flashed device; the agent removes it once the host has enrolled the device."""
    listen: Text = "127.0.0.1:8000"
    """Where the inference server listens: ``ADDRESS:PORT`` or ``unix:PATH``."""
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    """Threads inside an operator; 0 takes the profile's number."""
    sysfs_root: Text = "/"
    """Folder that holds ``proc`` and ``sys``; another than ``/`` replays a recorded device."""
    tick_s: Seconds = 1.0
    """How often the governor decides."""
    report_s: Seconds = 5.0
    """How often a sample goes into the outbox."""
    simulated: Text = ""
    """Says in every report that the sensors are not this machine's, and what they are."""

    @property
    def state_path(self) -> Path:
        """The state folder."""
        return Path(self.state_dir)

    def password(self) -> str:
        """Return the content of ``password_file`` without the final line end; empty if there is none.

        Raises:
            ConfigError: if it cannot be read.
        """
        if not self.password_file:
            return ""
        try:
            return Path(self.password_file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigError(self.password_file, "password_file", f"cannot be read: {reason}") from None


_PATHS = ("state_dir", "trust_root", "password_file", "ca_file", "enrolment_token_file", "sysfs_root")


def load_config(path: Path) -> Config:
    """Read and check a configuration file.

    Args:
        path: the TOML file.

    Returns:
        The configuration, all its paths absolute.

    Raises:
        ConfigError: names the file, the key and the reason.
    """
    try:
        table = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigError(str(path), "(file)", f"cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML
        raise ConfigError(str(path), "(file)", f"is not valid TOML: {' '.join(str(error).split())}") from None
    return check_config(table, path)


def check_config(table: dict[str, Any], path: Path) -> Config:
    """Turn a parsed table into a configuration.

    Raises:
        ConfigError: names the first key that is unknown, missing or wrong.
    """
    fields = {field.name: field for field in msgspec.structs.fields(Config)}
    for key in table:
        if key not in fields:
            import difflib  # a fifth of a megabyte that a right configuration never needs

            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known keys are {', '.join(fields)}"
            shown = key if key.isidentifier() and key.isascii() else ascii(key)
            raise ConfigError(str(path), shown, f"is not a key of the configuration; {hint}")
    for name, field in fields.items():
        if name not in table:
            if field.required:
                raise ConfigError(str(path), name, "is missing")
            continue
        try:
            msgspec.convert(table[name], field.type)
        except (msgspec.ValidationError, OverflowError) as error:
            raise ConfigError(str(path), name, str(error)) from None
        if field.required and not table[name]:
            raise ConfigError(str(path), name, "is empty")
    try:
        checked_id(table["device"])
    except TopicError as error:
        raise ConfigError(str(path), "device", str(error)) from None
    folder = path.absolute().parent
    absolute = {key: str(folder / Path(table[key]).expanduser()) for key in _PATHS if table.get(key)}
    if "/" in table["profile"] or table["profile"].endswith(".toml"):
        absolute["profile"] = str(folder / Path(table["profile"]).expanduser())
    for key, value in absolute.items():
        if "\0" in value:
            raise ConfigError(str(path), key, "has a NUL character in it")
    config: Config = msgspec.convert({**table, **absolute}, Config)
    return config
