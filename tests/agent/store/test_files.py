from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from secateur_agent.store import StoreError, make_folder, remove_leftovers, write_atomic

LIMITED_WRITER = """
import resource, signal, sys
from pathlib import Path
from secateur_agent.store import StoreError, write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_atomic(Path(sys.argv[1]), b"x" * 100_000)
except StoreError as error:
    print(error)
"""

ENDLESS_WRITER = """
import sys
from pathlib import Path
from secateur_agent.store import write_atomic
print("begin", flush=True)
while True:
    for letter in b"ab":
        write_atomic(Path(sys.argv[1]), bytes([letter]) * 300_000)
"""


def test_content_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["state.json"]


def test_order_that_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content on disk before the name, the name before success: otherwise a file of NULs is left (mosquitto#2639)."""
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        target = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        steps.append("sync folder" if target.is_dir() else f"sync {target.stat().st_size} bytes")
        real_fsync(descriptor)

    def replace(source: Path, target: Path) -> None:
        steps.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_atomic(tmp_path / "file", b"12345")
    assert steps == ["sync 5 bytes", "rename", "sync folder"]


def test_disk_that_refuses_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    result = subprocess.run(
        [sys.executable, "-c", LIMITED_WRITER, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == f"cannot write {path}: File too large\n"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.json"]


def test_full_disk_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        write_atomic(disk / "small", b"kept")
        with pytest.raises(StoreError, match=r"cannot write .*/large: No space left on device; free some space"):
            write_atomic(disk / "large", b"x" * 200_000)
        assert (disk / "small").read_bytes() == b"kept"
        assert os.listdir(disk) == ["small"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        write_atomic(tmp_path / "absent" / "file", b"")
    assert str(caught.value) == f"cannot write {tmp_path}/absent/file: No such file or directory"


def test_sigkill_at_any_instant_leaves_old_or_new_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for round_number in range(5):
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS_WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        while not path.exists():
            pass
        for _ in range(round_number * 2000):
            os.getpid()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert path.read_bytes() in (b"a" * 300_000, b"b" * 300_000)
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["file"]


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot create the folder .*/file: File exists"):
        make_folder(tmp_path / "file" / "below")
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
