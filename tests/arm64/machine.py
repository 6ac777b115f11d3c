"""An arm64 Python with the environment that boards get, run by QEMU's user emulation: no kernel, no boot, seconds.

`python -m tests.arm64.machine` makes it, with packages of Debian and PyPI; the tests then need no network. It lies in a
folder without /sys: ONNX Runtime asks there for the processor's caches and dies of those of another machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.boards.build_cache import BUILD, cached, run, say
from tests.boards.device_environment import environment_archive

_PACKAGES = "python3.11-minimal,libpython3.11-stdlib,libstdc++6"
_SOURCE = "deb http://deb.debian.org/debian bookworm main"
_NEEDED = ("mmdebstrap", "qemu-aarch64-static")
_READY = BUILD / "arm64-machine"


def ready() -> Path | None:
    """The machine's root folder, if it was made for the agent as it is now."""
    return _READY.resolve() if _READY.is_dir() else None


def prepare() -> Path:
    """Make the machine, or take it from the cache.

    Returns:
        Its root folder.

    Raises:
        RuntimeError: a program is missing, or a package cannot be had.
    """
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        raise RuntimeError(f"{', '.join(missing)}: not installed; 'sh tests/install_packages.sh' does that, as root")
    python = cached("arm64-python", [_PACKAGES, _SOURCE], _install_python)
    archive = environment_archive(BUILD)
    made = cached("arm64-machine", [python.name, archive.name], lambda folder: _join(python, archive, folder / "root"))
    _READY.unlink(missing_ok=True)
    _READY.symlink_to(made / "root")
    return made / "root"


def run_python(root: Path, *arguments: str, limit_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run its Python, with the board's packages, in a root folder that is like the machine's."""
    enter = ["chroot", str(root)]
    if os.geteuid() != 0:
        enter = ["unshare", "--map-root-user", f"--root={root}", "--wd=/"]
    command = [*enter, "/qemu-aarch64-static", "/usr/bin/python3.11", "-I", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=limit_s,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )


def _install_python(folder: Path) -> None:
    run("mmdebstrap", "--architectures=arm64", "--variant=extract", "--skip=check/qemu", f"--include={_PACKAGES}",
        "--dpkgopt=path-exclude=/usr/share/*", "bookworm", folder / "python.tar", _SOURCE)  # fmt: skip


def _join(python: Path, archive: Path, root: Path) -> None:
    root.mkdir()
    # Devices need root, and Python none of them.
    run("tar", "-xf", python / "python.tar", "-C", root, "--exclude=./dev/*", "--no-same-owner")
    with tarfile.open(archive) as tar:
        tar.extractall(root / "opt", filter="data")
    emulator = shutil.which("qemu-aarch64-static")
    assert emulator is not None
    shutil.copy(emulator, root / "qemu-aarch64-static")


if __name__ == "__main__":
    try:
        say(f"arm64 machine: {prepare()}")
    except (RuntimeError, ValueError) as error:
        # ValueError is the product's: wheels that cannot be had.
        if os.environ.get("CI"):
            raise
        say(f"arm64 machine: not made, its tests are skipped: {error}")
