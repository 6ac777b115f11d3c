"""Small wheels, made by hand: a real pip takes them."""

from __future__ import annotations

import platform
import zipfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from packaging.requirements import Requirement

from secateur.flash.requirements import needed
from secateur.flash.target import Target, make_target
from secateur.flash.wheelhouse import Record


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    python: str = "",
) -> Path:
    """Write a wheel with one module; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    path = folder / f"{module}-{version}-{tag}.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Python: {python}\n" if python else ""
    metadata += "".join(f"Requires-Dist: {each}\n" for each in requires)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{module}/__init__.py", f"version = {version!r}\n")
        wheel.writestr(f"{module}/tests/test_it.py", "assert True\n")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def make_wheelhouse(root: Path, target: Target, runtime: str = "onnxruntime") -> Path:
    """Write a complete wheelhouse of small wheels with the names and versions that the agent needs; return ``root``.

    The commands take it with ``--wheelhouse``, and reach for no index.
    """
    folder = root / f"{target.name}-{runtime}"
    wanted = needed(target, runtime)
    names = []
    for text in wanted:
        requirement = Requirement(text)
        oldest = next(str(each.version) for each in requirement.specifier if each.operator == ">=")
        names.append(make_wheel(folder, requirement.name, oldest).name)
    (folder / "wheelhouse.json").write_bytes(msgspec.json.encode(Record.of(target, runtime, wanted, names)))
    return root


def this_python() -> Target:
    """What the Python that runs here is, found out by other means than the probe."""
    glibc = platform.libc_ver()[1]
    return make_target(platform.python_version(), platform.machine(), glibc, "this Python")
