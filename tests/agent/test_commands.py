"""Commands run at most once, and each comes to an end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.bundle.keys import Keys, create_keys
from secateur_agent.commands import WINDOW, CommandError, CommandLog
from secateur_agent.protocol.messages import Command
from secateur_agent.store import StoreError

NOW_S = 1000.0


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return create_keys(tmp_path_factory.mktemp("keys"))


def signed(keys: Keys, seq: int, command_id: str = "c", role: Any = "command", **changes: Any) -> bytes:
    fields = {"device": "d", "id": command_id, "seq": seq, "expires_s": NOW_S + 10, "body": "measure", **changes}
    return keys.seal(role, Command(**fields))


def open_log(keys: Keys, folder: Path) -> CommandLog:
    return CommandLog(folder / "commands.json", "d", keys.root)


def test_is_taken_once_also_over_a_restart(keys: Keys, tmp_path: Path) -> None:
    entry, new = open_log(keys, tmp_path).take("c", signed(keys, 1), NOW_S)
    assert new
    assert entry.status == "executing"
    log = open_log(keys, tmp_path)
    assert log.take("c", signed(keys, 1), NOW_S) == (entry, False)
    log.finish(entry, "done", "all measured", {"n": 3})
    again, new = open_log(keys, tmp_path).take("c", signed(keys, 1), NOW_S + 99)
    assert not new
    assert (again.status, again.text, again.result) == ("done", "all measured", {"n": 3})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"device": "e"}, "not for this device"),
        ({"command_id": "x"}, "not for this device and topic"),
        ({"expires_s": NOW_S - 5}, "expired 5 s ago"),
        ({"role": "recut"}, "may not sign a command"),
        ({"seq": 7, "command_id": "c"}, None),
    ],
)
def test_is_refused_if_anything_is_wrong(keys: Keys, tmp_path: Path, changes: dict[str, Any], why: str | None) -> None:
    log = open_log(keys, tmp_path)
    payload = signed(keys, **{"seq": 1, **changes})
    if why is None:
        assert log.take("c", payload, NOW_S)[1]
        with pytest.raises(CommandError, match="used before, by c"):
            log.take("d", signed(keys, 7, "d"), NOW_S)
        return
    with pytest.raises(CommandError, match=why):
        log.take("c", payload, NOW_S)


def test_one_that_comes_late_is_taken_within_the_window_only(keys: Keys, tmp_path: Path) -> None:
    """A stuck command never blocks the next (greengrass-nucleus#807)."""
    log = open_log(keys, tmp_path)
    for seq in range(1000, 1000 + WINDOW):
        assert log.take(f"c{seq}", signed(keys, seq * 1000, f"c{seq}"), NOW_S)[1]
    assert log.take("late", signed(keys, 1_000_001, "late"), NOW_S)[1]
    with pytest.raises(CommandError, match="older than the last"):
        log.take("too-late", signed(keys, 999_999, "too-late"), NOW_S)
    # The lowest number was forgotten to make room; it must not run again for that.
    with pytest.raises(CommandError, match="older than the last"):
        log.take("c1000", signed(keys, 1_000_000, "c1000"), NOW_S)


def test_nothing_stays_executing_over_a_restart(keys: Keys, tmp_path: Path) -> None:
    """Restart stuck in "executing" (thin-edge.io#1135, #2150, #2542)."""
    log = open_log(keys, tmp_path)
    log.take("r", signed(keys, 1, "r", body="restart"), NOW_S)
    log.take("m", signed(keys, 2, "m"), NOW_S)
    ended = {entry.id: entry.status for entry in open_log(keys, tmp_path).settle()}
    assert ended == {"r": "done", "m": "failed"}
    assert open_log(keys, tmp_path).settle() == []


def test_one_that_cannot_be_written_down_does_not_run(keys: Keys, tmp_path: Path) -> None:
    log = CommandLog(tmp_path / "missing" / "commands.json", "d", keys.root)
    with pytest.raises(StoreError):
        log.take("c", signed(keys, 1), NOW_S)


@given(st.binary(max_size=200))
def test_any_payload_is_refused_in_one_line(keys: Keys, tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        open_log(keys, tmp_path_factory.mktemp("log")).take("c", data, NOW_S)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=100))
def test_a_damaged_log_is_told(keys: Keys, tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("log")
    (folder / "commands.json").write_bytes(b"\0" + data)
    assert "starting without the log" in open_log(keys, folder).problem
