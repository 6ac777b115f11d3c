"""What runs around each start: a release that never gets ready is taken back, one that gets ready stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.board_payloads import MakePayload

from secateur_agent.board import clock, releases
from secateur_agent.board.around_start import LONGEST_LIFE_S, after_start, before_start
from secateur_agent.board.install import install
from secateur_agent.board.layout import Layout


@pytest.fixture
def upgraded(layout: Layout, make_payload: MakePayload) -> Layout:
    """A board whose new release was installed while nobody waits for it: at a first boot, or before a power cut."""
    install(layout, make_payload("one"), lambda _: None, wait=False)
    install(layout, make_payload("two"), lambda _: None, wait=False)
    releases.begin_trial(layout, "two", "one", watched=False)
    return layout


def test_a_release_that_never_gets_ready_is_taken_back_with_its_configuration(upgraded: Layout) -> None:
    said: list[str] = []
    for _ in range(3):
        before_start(upgraded, said.append)
        assert releases.current(upgraded) == "two"
    before_start(upgraded, said.append)
    assert releases.current(upgraded) == "one"
    assert (upgraded.config / "agent.toml").read_text() == "# of one\n"
    assert said == ["two was started 3 times and did not show that it works", "returned to one"]


def test_a_release_that_gets_ready_stays(upgraded: Layout) -> None:
    before_start(upgraded, lambda _: None)
    after_start(upgraded)
    for _ in range(9):
        before_start(upgraded, lambda _: None)
    assert releases.current(upgraded) == "two"


def test_while_the_installer_waits_it_decides(upgraded: Layout) -> None:
    boot = upgraded.root / "proc/sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("this-boot\n")
    installer = upgraded.root / f"proc/{os.getpid()}"
    for is_over in (lambda: boot.write_text("the-next-boot\n"), installer.rmdir):
        installer.mkdir(exist_ok=True)
        releases.begin_trial(upgraded, "two", "one", watched=True)
        after_start(upgraded)
        assert upgraded.trial.exists()
        is_over()
        after_start(upgraded)
        assert not upgraded.trial.exists()


@pytest.mark.parametrize("content", [b"", b"soon", b"-5", b"nan", b"9999999999999", b"\xff\xfe"])
def test_a_damaged_floor_of_the_clock_is_none(layout: Layout, content: bytes) -> None:
    layout.state.mkdir(parents=True)
    (layout.state / "clock").write_bytes(content)
    assert clock.kept_floor_s(layout) == 0.0


def test_the_floor_is_what_the_agent_saved(layout: Layout) -> None:
    layout.state.mkdir(parents=True)
    (layout.state / "clock").write_bytes(b"1764000000\n")
    assert clock.kept_floor_s(layout) == 1764000000.0


def test_a_clock_in_1970_is_set_and_one_that_may_be_right_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """No clock chip: 1970, certificates "not yet valid" (Azure/iotedge#4062)."""
    board, set_to = Layout(Path("/")), []
    monkeypatch.setattr("time.clock_settime", lambda _clock, wall_s: set_to.append(wall_s))
    monkeypatch.setattr("time.time", lambda: 12.0)
    assert clock.set_floor(board, 1_764_000_000.0)
    monkeypatch.setattr("time.time", lambda: 1_764_000_001.0)
    assert not clock.set_floor(board, 1_764_000_000.0)
    assert not clock.set_floor(board, clock.LATEST_S + 1.0)
    assert set_to == [1_764_000_000.0]


def test_a_clock_that_may_not_be_set_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container, say: the agent has to start all the same."""

    def refuse(_clock: int, _wall_s: float) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("time.clock_settime", refuse)
    monkeypatch.setattr("time.time", lambda: 12.0)
    assert not clock.set_floor(Layout(Path("/")), 1_764_000_000.0)


def test_the_agents_account_cannot_move_the_clock_to_any_time(
    layout: Layout, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(layout, make_payload(), lambda _: None, wait=False)
    asked: list[float] = []
    monkeypatch.setattr(clock, "set_floor", lambda _layout, floor_s: asked.append(floor_s) or False)
    for saved, floor_s in (
        (1_700_000_500, 1_700_000_500),
        (4_000_000_000, 1_700_000_000 + LONGEST_LIFE_S),
        (5, 1_700_000_000),
    ):
        (layout.state / "clock").write_text(f"{saved}\n")
        before_start(layout, lambda _: None)
        assert asked.pop() == floor_s
