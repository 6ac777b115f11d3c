"""`secateur flash ssh` onto a booted board that knows nothing of Secateur: bare, serving, upgraded, back, and bare again.

The tests follow each other on one board. Times are emulated ones: `flash_cpu_s` is what this machine's processors took for
host and board together, `host_cpu_s` the host's part.
"""

from __future__ import annotations

import json
import resource
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.boards.board import Board
from tests.boards.build_cache import BUILD
from tests.boards.conftest import Record
from tests.boards.fat import BootPartition
from tests.boards.site import Site
from tests.bundle_factory import make_bundle

DEVICE, PROFILE = "pi-ssh", "raspberry-pi-4b"
_PROGRAM = "/opt/secateur/secateur-setup.pyz"
# What a running Debian changes by itself is left out.
_FILES = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/log "
    "-o -path /var/tmp -o -path /var/lib/systemd -o -path /root -o -path /home/pi/.cache "
    "-o -path /home/pi/.sudo_as_admin_successful \\) -prune -o -print | sort"
)


@dataclass(frozen=True)
class Desk:
    """A board with SSH, and where it is flashed from."""

    site: Site
    board: Board
    folder: Path
    files_before: frozenset[str]

    def secateur(self, *arguments: object, **variables: str) -> str:
        """A command that logs in at the board as its user, who needs no password for sudo."""
        where = f"{DEVICE}=pi@127.0.0.1:{self.board.ports[22]}"
        login = (where, "--known-hosts", self.folder / "known_hosts", "--accept-new-host-keys")
        return self.site.secateur(*arguments, *login, limit_s=600, SECATEUR_SSH_PASSWORD="raspberry", **variables)

    def flash(self, *options: object, **variables: str) -> dict[str, Any]:
        """`secateur flash ssh`, which waits until the host has verified the birth. Returns: the board's row."""
        arguments = ("flash", "ssh", "--profile", PROFILE, *self.site.access, *options, "--json")
        (row,) = json.loads(self.secateur(*arguments, **variables))
        return dict(row)

    def release(self) -> str:
        """The release that runs."""
        return str(json.loads(self.board.run(f"python3 {_PROGRAM} status"))["release"])

    def serves(self, manifest: str) -> None:
        """Wait until it serves a model."""
        self.site.wait("its model", lambda: self.site.committed(DEVICE, manifest), 120, self.board)


@pytest.fixture(scope="module")
def desk_with_board(site: Site, desk: Path, new_board: Callable[..., Board]) -> Desk:
    board = new_board()
    BootPartition(board.card).write("ssh", b"")
    board.power_on()
    board.wait_until("ss -ltn | grep -q :22 && systemctl is-system-running | grep -qx running", 300)
    return Desk(site, board, desk, frozenset(board.run(_FILES).splitlines()))


@pytest.fixture(scope="module")
def models() -> list[str]:
    """Digests of manifests that were pushed."""
    return []


def test_a_bare_board_becomes_a_device(desk_with_board: Desk, record: Record, models: list[str]) -> None:
    desk = desk_with_board
    with _timed(desk.board, record, "flash"):
        row = desk.flash()
    record("sent_mb", row["sent_bytes"] / 1e6)
    assert row["enrolled"].startswith("by its token")
    assert desk.site.born(DEVICE)
    folder = desk.folder / "bundle"
    folder.mkdir()
    models.append(desk.site.push(make_bundle(folder, desk.site.keys, profile=PROFILE), DEVICE))
    desk.serves(models[-1])


def test_an_upgrade_keeps_model_and_key_and_can_be_rolled_back(
    desk_with_board: Desk, record: Record, models: list[str]
) -> None:
    desk = desk_with_board
    first, key = desk.release(), desk.site.device(DEVICE)["birth"]["public_key"]
    with _timed(desk.board, record, "same_again"):
        assert desk.flash()["sent_bytes"] < 200_000
    assert desk.release() == first
    cache = _cache_with_another_release(desk.folder, first)
    with _timed(desk.board, record, "upgrade"):
        row = desk.flash(XDG_CACHE_HOME=str(cache))
    record("sent_mb", row["sent_bytes"] / 1e6)
    second = desk.release()
    assert second != first
    desk.serves(models[-1])
    with _timed(desk.board, record, "rollback"):
        desk.secateur("flash", "ssh", "--rollback", "--json")
    assert desk.release() == first
    desk.serves(models[-1])
    assert desk.site.device(DEVICE)["birth"]["public_key"] == key


def test_unflash_leaves_no_file_behind(desk_with_board: Desk, record: Record) -> None:
    desk = desk_with_board
    with _timed(desk.board, record, "unflash"):
        desk.secateur("unflash", "--yes")
    left = sorted(set(desk.board.run(_FILES).splitlines()) - desk.files_before)
    record("left_behind", len(left))
    assert left == []
    asked = "id secateur; systemctl cat secateur-agent; pgrep -f '[s]ecateur_agent'"
    assert desk.board.run(f"({asked}) 2>/dev/null", check=False) == ""
    assert desk.board.run("ls /var/log | grep -c secateur", check=False) == "0"


@contextmanager
def _timed(board: Board, record: Record, name: str) -> Iterator[None]:
    started, both, host = time.monotonic(), board.cpu_s, _host_cpu_s()
    yield
    record(f"{name}_s", time.monotonic() - started)
    record(f"{name}_cpu_s", board.cpu_s - both)
    record(f"{name}_host_cpu_s", _host_cpu_s() - host)


def _host_cpu_s() -> float:
    """Of commands that have ended; the board's processes run on."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cache_with_another_release(folder: Path, release: str) -> Path:
    """A cache like the one that release came from, in which the agent's environment has one file more, and another name."""
    ours, cache = BUILD / "xdg" / "secateur", folder / "cache"
    environments = cache / "secateur" / "environments"
    environments.mkdir(parents=True)
    (cache / "secateur" / "wheelhouse").symlink_to(ours / "wheelhouse")
    known = max((ours / "environments").glob(f"{release}-*.tar.gz"), key=lambda path: path.stat().st_mtime)
    key = known.name.removeprefix(release)
    with tarfile.open(known) as old, tarfile.open(environments / f"{release}-next{key}", "w:gz", compresslevel=1) as new:
        for entry in old:
            new.addfile(entry, old.extractfile(entry) if entry.isfile() else None)
        new.addfile(tarfile.TarInfo("site-packages/secateur_agent/another_release"))
    size = known.name.removesuffix(".tar.gz") + ".size"
    (environments / size.replace(release, f"{release}-next", 1)).write_text((ours / "environments" / size).read_text())
    return cache
