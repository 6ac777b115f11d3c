"""Fixtures of tests that have a fleet: keys, a database, a host in a process of its own, scripted devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.embedded_broker import BrokerProcess
from tests.scripted_device import HostProcess, ScriptedDevice

from secateur.bundle.keys import Keys, load_or_create_keys
from secateur.fleet.store import Store


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Signing keys in the folder that ``host`` uses."""
    return load_or_create_keys(tmp_path / "keys")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty database."""
    opened = Store(tmp_path / "fleet.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def host(tmp_path: Path, broker: BrokerProcess, keys: Keys) -> Iterator[HostProcess]:
    """A running host."""
    process = HostProcess(tmp_path, broker.url).start()
    yield process
    process.kill()


@pytest.fixture
def make_device(broker: BrokerProcess) -> Iterator[Callable[..., ScriptedDevice]]:
    """A function that makes a scripted device: ``make_device("pi", introduce=True, profile=…, key=…)``."""
    made: list[ScriptedDevice] = []

    def make(device: str, introduce: bool = True, **options: Any) -> ScriptedDevice:
        made.append(ScriptedDevice(broker.port, device, **options))
        if introduce:
            made[-1].introduce()
        return made[-1]

    yield make
    for device in made:
        device.close()
