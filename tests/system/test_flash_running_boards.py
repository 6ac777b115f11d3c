"""``secateur flash ssh`` and ``local`` on a running board: a copy of this machine with its own systemd and SSH server.

The processor is this machine's (x86), all else is real: sshd, sudo, systemd, mosquitto with TLS, the controller, the agent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.container_board import PASSWORD, USER, ContainerBoard
from tests.mosquitto import Mosquitto
from tests.ports import free_port
from tests.scripted_device import HostProcess

from secateur.bundle.keys import create_keys

WHEELS = Path(__file__).parents[2] / ".wheels"
DEVICE = "cam-1"
LIMIT_S = 90.0


class Bench:
    """A board, and the host that it is flashed from."""

    def __init__(self, folder: Path) -> None:
        assert WHEELS.exists(), (
            f"{WHEELS} is missing: 'make .wheels/.ready' fetches the wheels for this machine's own Python"
        )
        self.folder, self.port = folder, free_port()
        self.board = ContainerBoard(folder / "board")
        self.keys = create_keys(folder / "keys")
        self.broker = Mosquitto(folder / "broker")
        made = self.broker.folder
        options = ["--password-file", str(made.controller_password_path), "--ca-file", str(made.ca_path)]
        (folder / "host").mkdir()
        self.host = HostProcess(folder / "host", made.controller_url, "--keys", str(self.keys.folder), *options)

    def start(self) -> None:
        self.broker.start()
        self.host.start()
        self.board.start()

    def close(self) -> None:
        self.board.close()
        self.host.kill()
        self.broker.kill()

    def secateur(self, *arguments: object, password: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command with folders of its own."""
        variables = os.environ | {"XDG_CACHE_HOME": str(self.folder / "cache"), "SECATEUR_STATE": str(self.host.state)}
        variables |= {"SECATEUR_SSH_PASSWORD": password} | environment
        command = [sys.executable, "-m", "secateur.cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=variables, check=False)

    def payload_options(self) -> list[str]:
        options = ["--profile", "linux-x86-64", "--broker-folder", self.broker.folder.path, "--keys", self.keys.folder]
        return [*map(str, options), "--wheelhouse", str(WHEELS), "--listen", f"127.0.0.1:{self.port}"]

    def login(self, user: str = "root") -> list[str]:
        where = [f"{DEVICE}={user}@127.0.0.1:{self.board.port}", "--known-hosts", str(self.board.known_hosts)]
        return [*where, "--identity", str(self.board.key)] if user == "root" else where

    def flash(self, *options: str, user: str = "root", password: str = "") -> dict[str, Any]:
        """Flash the board; it must succeed."""
        arguments = ["flash", "ssh", *self.login(user), *self.payload_options(), *options, "--json"]
        done = self.secateur(*arguments, password=password)
        assert done.returncode == 0, done.stderr + self.journal()
        (row,) = json.loads(done.stdout)
        return dict(row)

    def journal(self) -> str:
        return self.board.run("journalctl -u secateur-agent --no-pager -n 40").stdout

    def status(self) -> dict[str, Any]:
        """What the agent's own command says."""
        agent = "/opt/secateur/current/bin/python -I -m secateur_agent"
        return dict(json.loads(self.board.run(f"{agent} status --json --config /etc/secateur/agent.toml").stdout))

    def shown(self, key: str) -> str:
        """A property of the service."""
        return self.board.run(f"systemctl show -P {key} secateur-agent").stdout.strip()

    def device(self) -> dict[str, Any]:
        with self.host.client() as client:
            return client.device(DEVICE)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The tests of this file go on from one another, in order: a board's life from bare to bare."""
    made = Bench(tmp_path_factory.mktemp("flash"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def eventually(check: Callable[[], Any], what: Callable[[], str]) -> Any:
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        if found := check():
            return found
        time.sleep(0.3)
    raise AssertionError(what())


def test_who_may_not_log_in_or_become_root_is_told_in_one_line(bench: Bench) -> None:
    cases = [
        (bench.login(USER), "wrong", "it does not let us in"),
        ([bench.login(USER)[0]], PASSWORD, "its host key is not known"),
        ([f"{DEVICE}=root@127.0.0.1:1"], "", "does SSH run there?"),
    ]
    for where, password, line in cases:
        arguments = ["flash", "ssh", *where, *bench.payload_options()]
        done = bench.secateur(*arguments, password=password, HOME=str(bench.folder / "home"))
        assert done.returncode == 1
        (said,) = [each for each in done.stderr.splitlines() if each.startswith("secateur: ")]
        assert line in said
        assert "Traceback" not in done.stderr
    assert bench.board.left_behind() == {}
    assert bench.broker.folder.devices() == []  # nothing was promised to a board that was not reached


def test_a_bare_board_becomes_a_device_that_its_host_has_verified(bench: Bench) -> None:
    row = bench.flash(user=USER, password=PASSWORD)
    assert row["enrolled"].startswith("by its token")
    assert row["sent_bytes"] > 20_000_000
    assert bench.status()["enrolment"] == "enrolled"
    assert (bench.shown("ActiveState"), bench.shown("User"), bench.shown("NRestarts")) == ("active", "secateur", "0")
    assert bench.board.run("ls -d /var/tmp/secateur.*").stdout == ""
    assert bench.board.run("ls /var/lib/secateur/enrolment-token").returncode != 0
    assert bench.board.run(f"su {USER} -c 'cat /etc/secateur/broker-password'").returncode != 0


def test_its_service_is_shut_in(bench: Bench) -> None:
    found = bench.board.run("systemd-analyze security secateur-agent --no-pager | tail -1").stdout
    exposure = float(found.rpartition(": ")[2].split()[0])
    assert exposure <= 3.0, found
    assert bench.shown("MemoryMax") not in ("", "infinity")
    assert bench.shown("WatchdogUSec") == "1min"


def test_flashing_again_sends_no_environment_and_keeps_key_and_password(bench: Bench) -> None:
    before = bench.device()["birth"]["public_key"]
    password = bench.board.run("sha256sum /etc/secateur/broker-password").stdout
    row = bench.flash()
    assert row["sent_bytes"] < 200_000
    assert bench.device()["birth"]["public_key"] == before
    assert bench.board.run("sha256sum /etc/secateur/broker-password").stdout == password


def test_an_agent_that_does_not_start_is_taken_back_by_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken update is installed once, not again and again (mendersoftware/mender#1581)."""
    release = json.loads(bench.board.run("python3 /opt/secateur/secateur-setup.pyz status").stdout)["release"]
    _break_environments(bench.folder / "cache" / "secateur" / "environments")
    done = bench.secateur("flash", "ssh", *bench.login(), *bench.payload_options(), "--json")
    (row,) = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert f"{release} runs again" in row["problem"], row
    assert json.loads(bench.board.run("python3 /opt/secateur/secateur-setup.pyz status").stdout)["release"] == release
    eventually(lambda: bench.shown("ActiveState") == "active" and bench.device()["state"] == "ready", bench.journal)


def test_after_a_power_cut_the_board_comes_back_by_itself(bench: Bench) -> None:
    boot = bench.device()["boot"]
    bench.board.cut()
    bench.board.start()
    eventually(lambda: (d := bench.device())["state"] == "ready" and d["boot"] != boot, bench.journal)


def test_unflash_leaves_no_file_behind(bench: Bench) -> None:
    done = bench.secateur("unflash", *bench.login(), "--yes")
    assert done.returncode == 0, done.stderr
    assert bench.board.left_behind() == {}
    assert bench.board.run("id secateur; systemctl cat secateur-agent").stdout == ""
    again = bench.secateur("unflash", *bench.login(), "--yes")
    assert again.returncode == 1
    assert "nothing is installed there" in again.stderr


def test_a_machine_flashes_itself_and_is_clean_again(bench: Bench) -> None:
    """``secateur flash local`` and ``unflash``, run on the board itself, which has this checkout."""
    kept = bench.board.root / "root" / "keys"  # its /tmp is another than ours
    shutil.copytree(bench.keys.folder, kept)
    variables = "PYTHONDONTWRITEBYTECODE=1 XDG_CACHE_HOME=/root/.cache SECATEUR_STATE=/root/.state"
    command = f"{variables} {sys.executable} -m secateur.cli"
    options = f"--profile linux-x86-64 --no-broker --keys /root/keys --wheelhouse {WHEELS} --listen 127.0.0.1:{bench.port}"
    done = bench.board.run(f"{command} flash local --id bench-1 {options} --json 2>/dev/null")
    assert json.loads(done.stdout)["device"] == "bench-1", done
    assert bench.shown("ActiveState") == "active"
    assert bench.status()["device"] == "bench-1"
    assert bench.board.run(f"{command} unflash").returncode == 1  # nobody can be asked
    assert bench.board.run(f"{command} unflash --yes").returncode == 0
    shutil.rmtree(kept)
    assert bench.board.left_behind() == {}


def _break_environments(folder: Path) -> None:
    """Give the host an environment whose agent ends at once: another release, with everything else as it is."""
    (archive,) = folder.glob("*.tar.gz")
    work = folder / "work"
    with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    package = work / "site-packages" / "secateur_agent"
    shutil.rmtree(package / "__pycache__")
    (package / "__main__.py").write_text("raise SystemExit('broken on purpose')\n")
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(work / "site-packages", "site-packages")
    shutil.rmtree(work)
    release, _, key = archive.name.partition("-cp")
    broken = folder / f"{release}-broken-cp{key}"
    archive.with_suffix("").with_suffix(".size").rename(broken.with_suffix("").with_suffix(".size"))
    archive.rename(broken)
