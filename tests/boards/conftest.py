"""Fixtures of the emulated boards. `make test-boards` runs them; `make test` does not collect them: they take minutes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.boards.board import Board
from tests.boards.build_cache import say
from tests.boards.image import compressed_image, make_card
from tests.boards.recorder import Recorder
from tests.boards.site import Site

collect_ignore_glob = [] if os.environ.get("SECATEUR_BOARDS") else ["test_*.py"]

_recorder = Recorder() if os.environ.get("SECATEUR_BOARDS") else None


class Record:
    """Figures of one test."""

    def __init__(self, test: str) -> None:
        self._test = test
        self.outcome = "failed"

    def __call__(self, name: str, value: float | int | str) -> None:
        """Keep a figure, and show it."""
        assert _recorder is not None
        _recorder.figure(self._test, name, value)
        say(f"{self._test}: {name} = {value:.1f}" if isinstance(value, float) else f"{self._test}: {name} = {value}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Leave the outcome where the fixture finds it."""
    result = yield
    report = result.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        item.stash[_OUTCOME] = report.outcome


_OUTCOME = pytest.StashKey[str]()


@pytest.fixture(autouse=True)
def record(request: pytest.FixtureRequest) -> Iterator[Record]:
    """`record(name, value)` keeps a figure in build/boards.json; the outcome is kept by itself."""
    assert _recorder is not None
    test = request.node.nodeid.removeprefix("tests/boards/")
    _recorder.start(test)
    say(f"{test} begins")
    started = time.monotonic()
    yield Record(test)
    outcome = request.node.stash.get(_OUTCOME, "failed")
    _recorder.outcome(test, outcome, time.monotonic() - started)
    say(f"{test} {outcome} after {time.monotonic() - started:.0f} s")


@pytest.fixture(scope="module")
def desk() -> Iterator[Path]:
    """A folder with a short path (sockets) and place for cards, emptied afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="boards-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def site(desk: Path) -> Iterator[Site]:
    """A broker and a host that run."""
    made = Site(desk / "site")
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def place_board(desk: Path) -> Iterator[Callable[..., Board]]:
    """Makes boards without a card; each is off when the module's tests are over, whatever happens."""
    made: list[Board] = []

    def place(**options: object) -> Board:
        folder = desk / f"b{len(made)}"
        made.append(Board(folder / "card.img", folder, **options))  # type: ignore[arg-type]
        return made[-1]

    yield place
    for board in made:
        board.power_cut()


@pytest.fixture(scope="module")
def new_board(place_board: Callable[..., Board]) -> Callable[..., Board]:
    """Makes boards with a new card of a kind, on which nothing was changed."""

    def make(kind: str = "bookworm", **options: object) -> Board:
        board = place_board(**options)
        make_card(board.card, kind)
        return board

    return make


@pytest.fixture(scope="module")
def flashed_board(place_board: Callable[..., Board], site: Site) -> Callable[..., Board]:
    """Makes boards whose card `secateur flash image` has written: of a kind, for a device of the site, with its options."""

    def make(kind: str, device: str, *flash: object, profile: str = "raspberry-pi-4b", **options: object) -> Board:
        board = place_board(**options)
        site.flash(compressed_image(kind), board.card, device, *flash, profile=profile)
        return board

    return make
