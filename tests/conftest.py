"""Fixtures that several test folders share, and the order that tests begin in."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from tests.embedded_broker import BrokerProcess

# Their tests wait for other processes. They begin first, and there are two workers more than cores (see the Makefile): work
# of others fills the waits, and nothing long is left for the end.
_FIRST = ("tests/system/", "tests/compiler/flash/", "tests/compiler/cli/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests in the order they are to begin in; within a file it stays."""
    items.sort(
        key=lambda item: next((rank for rank, folder in enumerate(_FIRST) if item.nodeid.startswith(folder)), len(_FIRST))
    )


def pytest_sessionstart() -> None:
    """Tests name their keys and folders; that somebody runs them by sudo must not matter to them."""
    os.environ.pop("SUDO_UID", None)


def pytest_collection_finish() -> None:
    """Spare the collector what lives until the end: walking torch's and onnxscript's objects again and again is an eighth of
    the time of tests that build networks."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


@pytest.fixture
def broker() -> Iterator[BrokerProcess]:
    """A running broker of this test alone: ``.port``, ``.url``, ``.pid``, ``.kill()``, ``.start()``."""
    process = BrokerProcess()
    process.start()
    try:
        yield process
    finally:
        process.kill()
