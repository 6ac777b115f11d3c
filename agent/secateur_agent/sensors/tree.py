"""The kernel's files below one root: `/` on a device, a recorded tree in tests and demonstrations."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Kernel attributes are at most one page, /proc files a few; a larger file is not what its name promises.
_LIMIT_BYTES = 256 * 1024
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,9})?", re.ASCII)


class DeviceTree:
    """Reads `proc/…` and `sys/…` below a root.

    Args:
        root: the directory that holds `proc` and `sys`.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)

    def text(self, relative: str) -> str:
        """Content of a file without surrounding white space.

        Raises:
            OSError: the file is missing, denied, or its driver refuses (a thermal zone that is off).
        """
        descriptor = os.open(os.path.join(self._root, relative), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        content = b""
        try:
            while len(content) < _LIMIT_BYTES and (part := os.read(descriptor, _LIMIT_BYTES - len(content))):
                content += part
        finally:
            os.close(descriptor)
        return content.decode("ascii", "replace").strip()

    def number(self, relative: str) -> float:
        """Content of a file that holds one decimal number.

        Raises:
            OSError: as `text`.
            ValueError: it holds something else.
        """
        return parse_number(self.text(relative))

    def exists(self, relative: str) -> bool:
        """Whether there is such a file or directory."""
        return os.path.exists(os.path.join(self._root, relative))

    def children(self, relative: str) -> list[str]:
        """Names in a directory in natural order (hwmon2 before hwmon10); empty if it cannot be listed."""
        try:
            names = os.listdir(os.path.join(self._root, relative))
        except OSError:
            return []
        return sorted(names, key=lambda name: [(len(part), part) for part in re.split(r"([0-9]+)", name)])


def parse_number(text: str) -> float:
    """A plain decimal number.

    Raises:
        ValueError: anything else, `nan`, `inf` and exponents included.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!a} is not a number")
    return float(text)


def metric_slug(label: str) -> str:
    """A label of the kernel as part of a metric's name: `cpu-thermal` → `cpu_thermal`, `VDD_IN` → `vdd_in`."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")[:40]
