"""``cmdline.txt``: the kernel's command line, one line; a second line, or a newline within the first, breaks the boot."""

from __future__ import annotations

import re
from collections.abc import Iterable

KERNEL_FLAGS = ("psi=1", "cgroup_enable=memory")
"""What the agent's sensors need: memory pressure, and the memory of a group of processes."""
# Keys that may be there several times with different values.
_SEVERAL = ("cgroup_enable", "console")
_BLANK = " \t\v\f"
# Between quotes, blanks are part of a word (parse_args() of the kernel).
_WORD = re.compile(r'(?:"[^"]*"|[^\s"])+', re.ASCII)


def merge(text: str, add: Iterable[str], remove: Iterable[str] = ()) -> str:
    """Return a kernel line with words added, each once.

    Args:
        text: what ``cmdline.txt`` holds. Only its first line counts, as for the board's firmware.
        add: words ``key=value``. A word of ours replaces one with the same key, but for keys that may be there several
            times with different values (``cgroup_enable``): then only the word itself must not be there twice.
        remove: beginnings of words that go.

    Returns:
        One line with a newline at its end.
    """
    line = next((line for line in re.split(r"[\r\n]", text.lstrip("\ufeff")) if line.strip(_BLANK)), "")
    # Behind a quotation mark that nothing closes, the kernel would take ours for a part of its word.
    line += '"' * (line.count('"') % 2)
    gone = tuple(remove)
    added = list(dict.fromkeys(word for one in add for word in _WORD.findall(one)))
    replaced = tuple(f"{word.partition('=')[0]}=" for word in added if word.partition("=")[0] not in _SEVERAL)
    undone = {f"cgroup_disable={word.partition('=')[2]}" for word in added if word.startswith("cgroup_enable=")}
    words = [
        word
        for word in _WORD.findall(line)
        if not (word in added or word in undone or word.startswith(replaced) or (gone and word.startswith(gone)))
    ]
    return " ".join([*words, *added]) + "\n"


def add_lines(text: str, lines: Iterable[str]) -> str:
    """Return ``config.txt`` with lines in its part for all boards, each once.

    Args:
        text: what is there.
        lines: such as ``dtparam=i2c_arm=on``. One that is there behind a '#' stays so; ours comes after.
    """
    present = {line.strip() for line in text.splitlines()}
    missing = [line for line in dict.fromkeys(lines) if line not in present]
    if not missing:
        return text
    end = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{end}[all]\n" + "".join(f"{line}\n" for line in missing)
