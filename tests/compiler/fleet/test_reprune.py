from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.bundle_factory import make_bundle, make_recut

from secateur.bundle.keys import Keys
from secateur.bundle.reader import open_recut
from secateur.fleet.asks import AskRecord
from secateur.fleet.devices import DeviceStore
from secateur.fleet.recut_job import RecutFailed, RecutJob, RecutResult, new_pool
from secateur.fleet.registry import Registry
from secateur.fleet.reprune import Reprune, fits, latency_ratio
from secateur.fleet.shadow import Shadows
from secateur.fleet.store import Store
from secateur_agent.protocol.messages import Answer, AskReprune, Constraints, RungMeasurement, decode


class Service:
    """The re-prune service on a real database, with what it sent."""

    def __init__(self, folder: Path, keys: Keys, store: Store, **options: Any) -> None:
        self.bundle = make_bundle(folder, keys)
        (folder / "workspace").mkdir(exist_ok=True)
        self.keys = keys
        self.sent: list[tuple[str, bytes]] = []
        self.chunks: list[tuple[str, str, int]] = []
        self.registry = Registry(store, keys.root)
        self.shadows = Shadows(store, keys, self.send)
        self.devices = DeviceStore(store)
        self.record = AskRecord(store)
        self.cuts = 0
        self.registered, self.model = self.registry.register(self.bundle, None, 65536)
        self.service = Reprune(
            keys=keys,
            registry=self.registry,
            shadows=self.shadows,
            devices=self.devices,
            record=self.record,
            send=self.send,
            send_chunk=lambda device, ref, index: self.chunks.append((device, ref.sha256, index)),
            folder=folder / "recuts",
            **{"min_interval_s": 0.0, "new_pool": lambda: ThreadPoolExecutor(1), "cut": self.cut, **options},
        )

    def send(self, topic: str, payload: bytes, **_: Any) -> bool:
        self.sent.append((topic, payload))
        return True

    def cut(self, job: RecutJob) -> RecutResult:
        self.cuts += 1
        made = make_recut(self.bundle, self.keys, width=12 - self.cuts, rung_id=f"r{8 + self.cuts}-fp32")
        entry = msgspec.json.encode(made.entry)
        return RecutResult(entry=entry, recipe=made.recipe, envelope=made.envelope, seconds=0.1)

    def desire(self, *devices: str) -> None:
        for device in devices:
            self.shadows.change(device, lambda desired: msgspec.structs.replace(desired, model=self.model))

    def ask(self, device: str, ask_id: str = "a1", latency_ms: float | None = 1.15, **changes: Any) -> Answer:
        fields: dict[str, Any] = {
            "manifest_sha256": self.registered.manifest_sha256,
            "precision": "fp32",
            "constraints": Constraints(latency_ms=latency_ms),
            "reason": "too warm",
        }
        asyncio.run(self.service.handle(device, ask_id, AskReprune(**{**fields, **changes}), 300))
        answers = [payload for topic, payload in self.sent if topic.endswith(f"/{device}/dn/answer/{ask_id}")]
        return decode(answers[-1], Answer)


@pytest.fixture
def make_service(tmp_path: Path, keys: Keys, store: Store) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(**options: Any) -> Service:
        made.append(Service(tmp_path, keys, store, **options))
        return made[-1]

    yield make
    for service in made:
        service.service.stop()


def test_a_rung_is_cut_signed_and_shipped(make_service: Callable[..., Service]) -> None:
    service = make_service()
    service.desire("pi")
    assert service.ask("pi").status == "done"
    wanted = service.shadows.get("pi")
    assert wanted is not None
    (added,) = wanted.recuts
    (row,) = service.registry.recuts(service.registered.manifest_sha256)
    opened = open_recut(service.keys.root, row.envelope, service.registered.manifest, service.registered.manifest_sha256)
    assert (opened.rung.id, opened.rung.recipe) == ("r9-fp32", added.recipe.sha256)
    path = service.registry.blob_path(added.recipe.sha256)
    assert path is not None
    assert len(path.read_bytes()) == added.recipe.size
    assert service.chunks == [("pi", added.recipe.sha256, 0)]
    (record,) = service.record.recent()
    assert (record["status"], record["rung"], record["reused"]) == ("done", "r9-fp32", False)
    assert record["accuracy"] == pytest.approx(opened.rung.metric_value)
    assert record["bytes"] > added.recipe.size + 300


def test_a_rung_that_was_cut_is_reused_for_another_device_but_not_for_the_one_that_has_it(
    make_service: Callable[..., Service],
) -> None:
    service = make_service()
    service.desire("pi", "jetson")
    assert service.ask("pi").text == "r9-fp32"
    assert service.ask("jetson").text == "r9-fp32, cut before for another ask"
    assert service.cuts == 1
    assert service.ask("pi", "a2").text == "r10-fp32"
    assert service.cuts == 2


def test_an_ask_delivered_twice_is_answered_once(make_service: Callable[..., Service]) -> None:
    service = make_service()
    service.desire("pi")
    for _ in range(2):
        service.ask("pi")
    assert service.cuts == 1


def test_a_device_that_asks_too_often_is_refused(make_service: Callable[..., Service]) -> None:
    service = make_service(min_interval_s=60.0)
    service.desire("pi")
    service.ask("pi", "a1")
    answer = service.ask("pi", "a2")
    assert answer.status == "refused"
    assert "at most one rung per 60 s" in answer.text


def test_what_cannot_be_met_is_refused_with_one_line_and_an_event(make_service: Callable[..., Service]) -> None:
    def fail(job: RecutJob) -> RecutResult:
        raise RecutFailed("infeasible; the nearest is 2.1 ms")

    service = make_service(cut=fail)
    assert "not the one that this device should run" in service.ask("pi", "a0").text
    service.desire("pi")
    assert "no constraint" in service.ask("pi", "a1", latency_ms=None).text
    assert service.ask("pi", "a2") == Answer(status="refused", text="infeasible; the nearest is 2.1 ms")
    assert [event["text"] for event in service.devices.events("pi")][-1] == "refused: infeasible; the nearest is 2.1 ms"
    assert [record["status"] for record in service.record.recent()] == ["refused"] * 3


def test_an_unexpected_error_is_refused_and_does_not_end_the_service(make_service: Callable[..., Service]) -> None:
    def crash(job: RecutJob) -> RecutResult:
        raise RuntimeError("first line\nsecond line")

    service = make_service(cut=crash)
    service.desire("pi")
    assert service.ask("pi") == Answer(status="refused", text="first line second line")


def test_a_workspace_that_is_no_workspace_is_refused_by_the_real_process(make_service: Callable[..., Service]) -> None:
    from secateur.fleet.recut_job import cut

    service = make_service(new_pool=new_pool, cut=cut)
    service.desire("pi")
    answer = service.ask("pi")
    assert answer.status == "refused"
    assert answer.text
    assert "\n" not in answer.text


def test_a_rung_fits_if_it_meets_all_constraints_and_uses_most_of_one(make_service: Callable[..., Service]) -> None:
    rungs = make_service().registered.manifest.rungs
    entry = rungs[0]  # 1.6 ms, 66 MB, 3.2 mJ
    assert fits(entry, Constraints(latency_ms=1.7), 1.0)
    assert not fits(entry, Constraints(latency_ms=1.5), 1.0)
    assert not fits(entry, Constraints(latency_ms=3.0), 1.0)
    assert fits(entry, Constraints(latency_ms=3.3), 2.0)
    assert not fits(entry, Constraints(latency_ms=1.7, memory_mb=60.0), 1.0)
    assert not fits(entry, Constraints(), 1.0)


def test_the_latency_ratio_is_the_median_over_measured_rungs(make_service: Callable[..., Service]) -> None:
    rungs = make_service().registered.manifest.rungs
    measured = [
        RungMeasurement(rung=rung.id, latency_p50_ms=rung.latency_ms * factor, latency_p95_ms=9.0, peak_rss_mb=50.0)
        for rung, factor in zip(rungs, (2.0, 3.0, 10.0))
    ]
    assert latency_ratio(rungs, measured) == pytest.approx(3.0)
    assert latency_ratio(rungs, []) == 1.0
