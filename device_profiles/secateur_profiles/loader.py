"""Read profiles from TOML, and say everything that is wrong with one."""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from secateur_profiles.schema import Profile
from secateur_profiles.validation import Problem, find_problems

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BUILT_IN = Path(__file__).parent / "profiles"
WHOLE_FILE = "(file)"


class ProfileError(ValueError):
    """A profile that cannot be used.

    Args:
        file: the file, or the name that was asked for.
        key: dotted key of the offending value, or "(file)" if the file as a whole is at fault.
        reason: what is wrong and how to mend it.
    """

    def __init__(self, file: str, key: str, reason: str) -> None:
        super().__init__(f"{file}: {key}: {reason}")
        self.file = file
        self.key = key
        self.reason = reason


def names() -> list[str]:
    """Returns: the names of the built-in profiles, sorted."""
    return sorted(path.stem for path in BUILT_IN.glob("*.toml"))


def load(name_or_path: str | Path) -> Profile:
    """Load one profile.

    Args:
        name_or_path: a built-in name (`raspberry-pi-4b`), or the path of a `.toml` file.

    Returns:
        The validated profile.

    Raises:
        ProfileError: unknown name, unreadable file, or the first problem of a wrong file.
    """
    path = _path_of(name_or_path)
    table = _read(path)
    problems = _problems(path, table)
    if problems:
        raise ProfileError(str(path), problems[0].key, problems[0].reason)
    return msgspec.convert(table, Profile)


def check(path: str | Path) -> list[str]:
    """All problems of a profile file, not only the first.

    Args:
        path: a `.toml` file, or a built-in name.

    Returns:
        One line each, "FILE: KEY: REASON"; empty if the file is right.
    """
    try:
        file = _path_of(path)
        table = _read(file)
    except ProfileError as error:
        return [str(error)]
    return [f"{file}: {problem.key}: {problem.reason}" for problem in _problems(file, table)]


def _path_of(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or os.sep in text:
        return Path(name_or_path)
    known = names()
    if text in known:
        return BUILT_IN / f"{text}.toml"
    raise ProfileError(text, "name", _unknown(text, known))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ProfileError(str(path), WHOLE_FILE, f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ProfileError(str(path), WHOLE_FILE, f"is not UTF-8 text (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        # Beside syntax errors: a path with NUL, a number of 5,000 digits, tables nested too deep.
        raise ProfileError(str(path), WHOLE_FILE, f"is not valid TOML: {error}") from None


def _problems(path: Path, table: dict[str, Any]) -> list[Problem]:
    problems = find_problems(table)
    name = table.get("name")
    if isinstance(name, str) and name != path.stem:
        problems.append(Problem("name", f"is {name!r} but the file is named {path.stem!r}: they must be equal"))
    return problems


def _unknown(text: str, known: list[str]) -> str:
    close = difflib.get_close_matches(text, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else f"built in are {', '.join(known)}."
    return f"no built-in profile of this name; {hint} Your own is given by its path, ending in .toml"
