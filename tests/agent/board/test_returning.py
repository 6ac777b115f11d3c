"""Which release a board returns to, and what it may return to after that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.board_payloads import MakePayload

from secateur_agent.board import files, releases, service
from secateur_agent.board.around_start import after_start, before_start
from secateur_agent.board.errors import SetupError
from secateur_agent.board.install import install, roll_back
from secateur_agent.board.layout import Layout


class CutOffError(BaseException):
    """The power or the connection is gone."""


def quiet(_line: str) -> None:
    """Nobody listens."""


@pytest.fixture
def ill(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Releases that do not get healthy; there is no service manager below a test's root that could tell."""
    found: set[str] = set()

    def wait_healthy(layout: Layout, *_rest: object) -> str:
        return "the service has failed" if releases.current(layout) in found else ""

    monkeypatch.setattr(service, "wait_healthy", wait_healthy)
    return found


def refuse(layout: Layout, make_payload: MakePayload, release: str, returned_to: str) -> None:
    with pytest.raises(SetupError, match=f"^{release}: the service has failed; {returned_to} runs again$"):
        install(layout, make_payload(release), quiet, wait=True)
    assert releases.current(layout) == returned_to
    assert layout.unit.read_text() == f"# unit of {returned_to}\n"
    assert not layout.trial.exists()


def cut_off_while_waiting(layout: Layout, make_payload: MakePayload, release: str) -> None:
    def cut(*_arguments: object) -> str:
        raise CutOffError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "wait_healthy", cut)
        with pytest.raises(CutOffError):
            install(layout, make_payload(release), quiet, wait=True)


def test_a_release_that_failed_is_not_what_a_person_returns_to(
    layout: Layout, make_payload: MakePayload, ill: set[str]
) -> None:
    install(layout, make_payload("one"), quiet, wait=True)
    install(layout, make_payload("two"), quiet, wait=True)
    ill.add("three")
    refuse(layout, make_payload, "three", "two")
    refuse(layout, make_payload, "three", "two")
    assert releases.previous(layout) == "one"
    assert roll_back(layout, quiet) == "one runs again"


def test_after_a_first_upgrade_that_failed_there_is_nothing_to_return_to(
    layout: Layout, make_payload: MakePayload, ill: set[str]
) -> None:
    install(layout, make_payload("one"), quiet, wait=True)
    ill.add("two")
    refuse(layout, make_payload, "two", "one")
    with pytest.raises(SetupError, match="no release before"):
        roll_back(layout, quiet)
    assert install(layout, make_payload("three"), quiet, wait=True).endswith("in place of one")
    assert sorted(path.name for path in layout.releases.iterdir()) == ["one", "three"]


def test_an_upgrade_that_was_cut_off_and_is_run_again_still_returns_to_what_worked(
    layout: Layout, make_payload: MakePayload, ill: set[str]
) -> None:
    install(layout, make_payload("zero"), quiet, wait=True)
    install(layout, make_payload("one"), quiet, wait=True)
    cut_off_while_waiting(layout, make_payload, "two")
    ill.add("two")
    refuse(layout, make_payload, "two", "one")
    assert releases.previous(layout) == "zero"


def test_over_a_release_that_has_not_shown_that_it_works_another_one_returns_to_what_did(
    layout: Layout, make_payload: MakePayload, ill: set[str]
) -> None:
    install(layout, make_payload("one"), quiet, wait=True)
    cut_off_while_waiting(layout, make_payload, "two")
    ill |= {"two", "three"}
    refuse(layout, make_payload, "three", "one")


def test_a_release_that_is_taken_back_before_a_start_is_not_returned_to(layout: Layout, make_payload: MakePayload) -> None:
    install(layout, make_payload("zero"), quiet, wait=False)
    after_start(layout)
    install(layout, make_payload("one"), quiet, wait=False)
    after_start(layout)
    install(layout, make_payload("two"), quiet, wait=False)
    for _ in range(4):
        before_start(layout, quiet)
    assert (releases.current(layout), releases.previous(layout)) == ("one", "")  # what ran before it has gone since


def test_a_cut_between_configuration_and_switch_is_a_trial_too(
    layout: Layout, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old release may not understand the new one's configuration; then it gets its own back."""
    install(layout, make_payload("one"), quiet, wait=True)

    real = files.write

    def cut(path: Path, *rest: Any) -> None:
        if path == layout.unit:
            raise CutOffError
        real(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", cut)
        with pytest.raises(CutOffError):
            install(layout, make_payload("two"), quiet, wait=True)
    assert releases.current(layout) == "one"
    assert (layout.config / "agent.toml").read_text() == "# of two\n"
    for _ in range(4):
        before_start(layout, quiet)
    assert (layout.config / "agent.toml").read_text() == "# of one\n"


def test_a_person_can_return_and_return_again(layout: Layout, make_payload: MakePayload) -> None:
    install(layout, make_payload("one"), quiet, wait=True)
    install(layout, make_payload("two"), quiet, wait=True)
    for expected in ("one", "two", "one"):
        assert roll_back(layout, quiet) == f"{expected} runs again"
        assert (layout.config / "agent.toml").read_text() == f"# of {expected}\n"


def test_a_return_that_is_cut_off_has_happened_or_not(
    layout: Layout, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(layout, make_payload("one"), quiet, wait=True)
    install(layout, make_payload("two"), quiet, wait=True)
    real, calls = files.link, []

    def cut(path: Path, to: str) -> None:
        calls.append(to)
        if len(calls) > 1:
            raise CutOffError
        real(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(files, "link", cut)
        with pytest.raises(CutOffError):
            roll_back(layout, quiet)
    assert (releases.current(layout), releases.previous(layout)) == ("one", "")
