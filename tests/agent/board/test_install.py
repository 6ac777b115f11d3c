"""Installing a payload: once, again, over another, and cut off anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.board_payloads import MakePayload

from secateur_agent.board import accounts, releases
from secateur_agent.board.errors import SetupError
from secateur_agent.board.install import install, roll_back
from secateur_agent.board.layout import Layout


class PowerCutError(BaseException):
    """Nothing after this instant happens."""


@contextmanager
def power_cut_after(count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let the calls that change what is on disk fail from the one of this number on; the list counts them."""
    seen: list[int] = []
    with monkeypatch.context() as patch:
        for name in ("replace", "rename", "unlink", "fsync", "mkdir", "sync"):
            real = getattr(os, name)

            def cut(*arguments: Any, real: Any = real, **options: Any) -> Any:
                seen.append(1)
                if len(seen) > count:
                    raise PowerCutError
                return real(*arguments, **options)

            patch.setattr(os, name, cut)
        yield seen


def quiet(_line: str) -> None:
    """Nobody listens."""


def name_of_current(layout: Layout) -> str:
    """By the module that its own Python would import; that it does is tested with releases."""
    (module,) = layout.current.glob("lib/python*/site-packages/hello.py")
    assert (layout.current / "bin/python").exists()
    return module.read_text().partition("'")[2].partition("'")[0]


def test_everything_is_in_its_place(layout: Layout, make_payload: MakePayload) -> None:
    line = install(layout, make_payload(), quiet, wait=True)
    assert line == "cam-1: one is installed"
    assert name_of_current(layout) == "one"
    assert layout.unit.read_text() == "# unit of one\n"
    assert layout.wanted.resolve() == layout.unit
    assert layout.program.read_bytes() == b"program"
    assert sorted(path.name for path in layout.config.iterdir()) == ["agent.toml", "broker-password", "root.json"]
    assert (layout.state / "enrolment-token").read_bytes() == b"token\n"


def test_secrets_are_wiped_from_the_payload_and_readable_by_the_agent_alone(
    layout: Layout, make_payload: MakePayload
) -> None:
    folder = make_payload()
    install(layout, folder, quiet, wait=True)
    assert not {"broker-password", "enrolment-token"} & {path.name for path in folder.iterdir()}
    assert (layout.config / "broker-password").stat().st_mode & 0o777 == 0o640
    assert (layout.state / "enrolment-token").stat().st_mode & 0o777 == 0o600
    assert layout.state.stat().st_mode & 0o777 == 0o700


def test_a_second_run_changes_nothing(layout: Layout, make_payload: MakePayload) -> None:
    folder = make_payload()
    install(layout, folder, quiet, wait=True)
    (layout.state / "enrolment-token").unlink()  # the agent is enrolled
    install(layout, folder, quiet, wait=True)
    assert not (layout.state / "enrolment-token").exists()
    assert releases.previous(layout) == ""


def test_a_damaged_file_is_refused_and_what_ran_runs_on(layout: Layout, make_payload: MakePayload) -> None:
    install(layout, make_payload("one"), quiet, wait=True)
    folder = make_payload("two")
    (folder / "root.json").write_bytes(b"{]\n")
    with pytest.raises(SetupError, match=r"root.json: is not what the host wrote"):
        install(layout, folder, quiet, wait=True)
    assert name_of_current(layout) == "one"
    assert (layout.config / "agent.toml").read_text() == "# of one\n"


def test_a_missing_file_is_named(layout: Layout, make_payload: MakePayload) -> None:
    folder = make_payload()
    (folder / "environment.tar.gz").unlink()
    with pytest.raises(SetupError, match=r"environment.tar.gz: is missing"):
        install(layout, folder, quiet, wait=True)


@pytest.mark.parametrize(("key", "value", "text"), [("python", "3.99", "Python 3.99"), ("machine", "riscv64", "riscv64")])
def test_a_payload_for_another_system_is_refused(
    layout: Layout, make_payload: MakePayload, key: str, value: str, text: str
) -> None:
    with pytest.raises(SetupError, match=f"the payload is for {text}"):
        install(layout, make_payload(**{key: value}), quiet, wait=True)
    assert not layout.opt.exists()


def test_what_was_made_before_unpacking_failed_can_be_removed(
    layout: Layout, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account too, and also if a later run finds it there."""
    made: list[Layout] = []
    monkeypatch.setattr(accounts, "is_there", lambda _layout: bool(made))
    monkeypatch.setattr(accounts, "ensure", made.append)
    with pytest.raises(SetupError, match="are needed"):
        install(layout, make_payload(unpacked_bytes=1 << 39), quiet, wait=True)
    assert layout.program.exists()
    install(layout, make_payload(), quiet, wait=True)
    assert json.loads(layout.record.read_bytes()) == {"account_made": True, "device": "cam-1", "clock_s": 1_700_000_000}


def test_an_upgrade_keeps_the_release_before_and_a_person_can_return_to_it(
    layout: Layout, make_payload: MakePayload
) -> None:
    install(layout, make_payload("one"), quiet, wait=True)
    assert install(layout, make_payload("two"), quiet, wait=True).endswith("in place of one")
    assert (layout.config / "agent.toml").read_text() == "# of two\n"
    assert not layout.trial.exists()
    assert roll_back(layout, quiet) == "one runs again"
    assert name_of_current(layout) == "one"
    assert (layout.config / "agent.toml").read_text() == "# of one\n"
    assert layout.unit.read_text() == "# unit of one\n"


def test_without_a_release_before_there_is_no_return(layout: Layout, make_payload: MakePayload) -> None:
    install(layout, make_payload(), quiet, wait=True)
    with pytest.raises(SetupError, match="no release before"):
        roll_back(layout, quiet)


def test_a_power_cut_at_any_instant_of_the_first_install_is_made_good_by_the_next_boot(
    tmp_path: Path, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    while True:
        layout = Layout(tmp_path / f"root{count}")
        layout.root.mkdir()
        folder = make_payload()
        try:
            with power_cut_after(count, monkeypatch):
                install(layout, folder, quiet, wait=True)
        except PowerCutError:
            install(layout, folder, quiet, wait=True)
            assert name_of_current(layout) == "one"
            assert (layout.config / "broker-password").read_bytes() == b"secret\n"
            assert (layout.state / "enrolment-token").read_bytes() == b"token\n"
            assert not (folder / "broker-password").exists()
            count += 1
            continue
        break
    assert count > 20  # it was cut often enough to mean something


def test_a_power_cut_at_any_instant_of_an_upgrade_leaves_a_release_that_runs(
    tmp_path: Path, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    while True:
        layout = Layout(tmp_path / f"root{count}")
        layout.root.mkdir()
        install(layout, make_payload("one"), quiet, wait=True)
        folder = make_payload("two")
        try:
            with power_cut_after(count, monkeypatch):
                install(layout, folder, quiet, wait=True)
        except PowerCutError:
            assert name_of_current(layout) in ("one", "two")
            assert layout.unit.read_text() in ("# unit of one\n", "# unit of two\n")
            install(layout, folder, quiet, wait=True)
            assert name_of_current(layout) == "two"
            assert layout.unit.read_text() == "# unit of two\n"
            count += 1
            continue
        break
    assert count > 20
