"""What the device tells travels in few bytes, and nothing of it is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from secateur_agent import reporting
from secateur_agent.clock import WallClock
from secateur_agent.link.outbox import Outbox
from secateur_agent.protocol.messages import Reading, Reported
from secateur_agent.reporting import Reporter

ABSENT = Reading(None, "mW", "ina3221", "unavailable", "no such chip")


class Link:
    """Keeps what is published."""

    connected = True
    takes = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def publish(self, topic: str, payload: bytes, **_: Any) -> bool:
        if self.takes:
            self.sent.append((topic.rpartition("/")[2], json.loads(payload)))
        return self.takes


@pytest.fixture
def made(tmp_path: Path) -> tuple[Reporter, Link, Outbox]:
    link, outbox = Link(), Outbox(tmp_path / "outbox.sqlite", "boot1")
    return Reporter("pi", "boot1", link, outbox, WallClock(tmp_path / "clock")), link, outbox


def sent_readings(reporter: Reporter, link: Link, samples: list[dict[str, Reading]]) -> list[dict[str, Any]]:
    for number, readings in enumerate(samples):
        reporter.sample(float(number), "r0", 0, 0, readings)
    reporter.send_held(100.0)
    (batch,) = [message for kind, message in link.sent if kind == "telemetry"]
    return [sample["readings"] for sample in batch["samples"]]


def test_what_stays_unavailable_says_where_it_should_be_once(made: tuple[Reporter, Link, Outbox]) -> None:
    reporter, link, _ = made
    other = Reading(None, "mW", "ina3221", "unavailable", "permission denied")
    there = Reading(5.0, "mW", "ina3221")
    found = sent_readings(reporter, link, [{"p": each} for each in (ABSENT, ABSENT, other, there, ABSENT)])
    full = {"unit": "mW", "source": "ina3221", "quality": "unavailable"}
    assert found == [
        {"p": {**full, "note": "no such chip"}},
        {"p": {"quality": "unavailable", "note": "no such chip"}},
        {"p": {**full, "note": "permission denied"}},
        {"p": {"value": 5.0, "unit": "mW", "source": "ina3221"}},
        {"p": {**full, "note": "no such chip"}},
    ]


def test_values_keep_six_digits(made: tuple[Reporter, Link, Outbox]) -> None:
    reporter, link, _ = made
    (found,) = sent_readings(reporter, link, [{"p": Reading(1234.5678901, "MB", "memory")}])
    assert found["p"]["value"] == 1234.57


def test_a_reading_without_quality_was_measured() -> None:
    assert msgspec.json.decode(b'{"value": 1, "unit": "MB"}', type=Reading).quality == "measured"
    assert msgspec.json.decode(msgspec.json.encode(ABSENT), type=Reading) == ABSENT


def test_passing_changes_of_the_shadow_wait_for_each_other(
    made: tuple[Reporter, Link, Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter, link, _ = made
    now_s = 1000.0
    monkeypatch.setattr(WallClock, "now_s", lambda self: now_s)
    state = Reported(version=1, boot="boot1", install="committed", model="m", manifest_sha256="0" * 64, rung="r0")

    def told() -> int:
        return len([kind for kind, _ in link.sent if kind == "shadow"])

    reporter.report_shadow(state)
    assert told() == 1
    state = msgspec.structs.replace(state, download_have=1, download_total=2)
    assert not reporter.report_shadow(state)
    assert told() == 1
    now_s += reporting._PASSING_S
    assert reporter.report_shadow(state)
    assert told() == 2
    reporter.report_shadow(msgspec.structs.replace(state, rung="r1"))  # what a person waits for does not wait
    assert told() == 3
    reporter.report_shadow(msgspec.structs.replace(state, rung="r1"))
    assert told() == 3


def test_a_fault_is_told_again_after_the_clock_went_back(
    made: tuple[Reporter, Link, Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter, link, _ = made
    for now_s, told in ((2e9, 1), (2e9 + 1, 1), (1.8e9, 2), (1.8e9 + 61, 3)):
        monkeypatch.setattr(WallClock, "now_s", lambda self, now_s=now_s: now_s)
        reporter.event("fault", "no sensor")
        assert len(link.sent) == told


def test_a_shadow_that_the_link_refuses_is_tried_again(made: tuple[Reporter, Link, Outbox]) -> None:
    reporter, link, _ = made
    state = Reported(version=1, boot="boot1", install="idle")
    link.takes = False
    assert not reporter.report_shadow(state)
    link.takes = True
    assert reporter.report_shadow(state)
