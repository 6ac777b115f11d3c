"""What follows from a decision: a rung is served, the change is told once, a wish goes to the host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from tests.bundle_factory import make_bundle

from secateur.bundle.keys import create_keys
from secateur_agent.asks import Asks
from secateur_agent.bundle.manifest import open_manifest
from secateur_agent.deciding import Deciding
from secateur_agent.governing import Governing
from secateur_agent.inference.control import LoadRung
from secateur_agent.installed_ladder import InstalledLadder
from secateur_agent.measurements import Measurements
from secateur_agent.offline import NoBroker
from secateur_agent.protocol.messages import Policy, Reading, RungMeasurement
from secateur_agent.sensors import Sensor
from secateur_profiles import load

PROFILE = load("raspberry-pi-4b")


class RecordingWorker:
    """Notes what it is to serve."""

    rss_mb = 40.0
    inferences = 0

    def __init__(self) -> None:
        self.served: list[tuple[str, str]] = []

    def serve(self, rung: LoadRung, mode: str) -> None:
        self.served.append((rung.rung, mode))


class RecordingLink(NoBroker):
    """Notes what is published."""

    connected = True

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> bool:
        self.published.append(msgspec.json.decode(payload))
        return True


class CountingSensor:
    """A sensor that is always asked in vain."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reads = 0

    def read(self) -> dict[str, Reading]:
        self.reads += 1
        return {}


class Desk:
    """A `Deciding` with a real governor and a real ladder; the worker and the link only take notes."""

    def __init__(self, folder: Path) -> None:
        keys = create_keys(folder / "keys")
        manifest = open_manifest(keys.root, (make_bundle(folder, keys) / "manifest.json").read_bytes())
        self.ladder = InstalledLadder(manifest, "a" * 64, folder)
        self.keeper = SimpleNamespace(ladder=None, changed=True, banned=set[str]())
        self.keeper.ban_from = lambda rung, rungs, now_s: self.bans.append((rung, rungs, now_s))
        self.bans: list[tuple[str, tuple[str, ...], float]] = []
        self.measurements = Measurements(folder / "measurements.json")
        self.shadow = SimpleNamespace(desired=None)
        self.worker, self.link = RecordingWorker(), RecordingLink()
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.installing = False
        self.sensors = [CountingSensor("memory"), CountingSensor("cpu"), CountingSensor("rail")]
        self.deciding = Deciding(
            PROFILE,
            cast("list[Sensor]", self.sensors),
            Governing(folder / "governor.json", PROFILE, 0.0),
            cast(Any, self.keeper),
            self.measurements,
            cast(Any, self.shadow),
            cast(Any, self.worker),
            Asks("d", "boot", self.link),
            lambda kind, text, evidence: self.told.append((kind, text, evidence)),
            lambda: self.installing,
        )

    def install(self) -> None:
        self.keeper.ladder, self.keeper.changed = self.ladder, True

    def want(self, pin: str = "", policy: Policy | None = None) -> None:
        self.shadow.desired = SimpleNamespace(pin=pin, policy=policy or Policy())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_without_a_ladder_nothing_is_served_and_nothing_told(desk: Desk) -> None:
    desk.deciding.decide(1.0, {})
    assert desk.worker.served == []
    assert desk.told == []


def test_a_decision_is_served_and_only_its_change_is_told(desk: Desk) -> None:
    desk.install()
    for second in range(3):
        desk.deciding.decide(float(second), {})
    top = next(iter(desk.ladder.entries))
    assert [rung for rung, _ in desk.worker.served] == [top] * 3
    assert [(kind, text.split(":")[0]) for kind, text, _ in desk.told] == [("decision", top)]
    assert not desk.keeper.changed


def test_a_pin_that_is_unknown_is_told_once_and_not_while_rungs_are_on_their_way(desk: Desk) -> None:
    desk.install()
    desk.deciding.decide(0.0, {})
    desk.want(pin="r9-fp32")
    desk.installing = True
    desk.deciding.decide(1.0, {})
    assert len(desk.told) == 1
    desk.installing = False
    for second in (2.0, 3.0):
        desk.deciding.decide(second, {})
    assert len(desk.told) == 2
    assert "r9-fp32" in desk.told[-1][1]


def test_an_ask_carries_what_rungs_took_here(desk: Desk) -> None:
    desk.install()
    measured = [
        RungMeasurement(rung=rung, latency_p50_ms=80.0, latency_p95_ms=90.0, peak_rss_mb=40.0)
        for rung in desk.ladder.entries
    ]
    desk.measurements.put("a" * 64, measured)
    desk.want(policy=Policy(latency_ms=10.0, reprune=True))
    for second in range(0, 200, 5):
        desk.deciding.decide(float(second), {})
    (ask,) = (message for message in desk.link.published if message["ask"] == "reprune")
    assert ask["manifest_sha256"] == "a" * 64
    assert ask["constraints"]["latency_ms"] <= 10.0
    assert {each["rung"] for each in ask["measurements"]} == set(desk.ladder.entries)
    assert any("ask" in evidence for _, _, evidence in desk.told)


def test_while_nobody_asks_anything_only_every_fifth_tick_decides(desk: Desk) -> None:
    assert [desk.deciding.due() for _ in range(5)] == [False, False, False, False, True]
    desk.deciding.decide(0.0, {})
    for second, inferences in ((1.0, 3), (2.0, 9)):
        desk.worker.inferences = inferences
        desk.deciding.count(second)
    assert [desk.deciding.due() for _ in range(3)] == [True, True, True]


def test_only_sensors_that_a_decision_needs_are_read(desk: Desk) -> None:
    desk.deciding.read()
    assert {each.name: each.reads for each in desk.sensors} == {"memory": 1, "cpu": 0, "rail": 0}


def test_a_rung_that_was_too_much_is_banned_with_what_is_above_it(desk: Desk) -> None:
    desk.install()
    desk.deciding.decide(0.0, {})
    rung = list(desk.ladder.entries)[1]
    desk.deciding.step_below(rung, 5.0)
    assert desk.bans == [(rung, tuple(desk.ladder.entries), 5.0)]
