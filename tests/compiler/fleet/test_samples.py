from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.fleet.samples import Acknowledged, Batch, SampleStore
from secateur.fleet.store import Store
from secateur_agent.protocol.messages import Sample, Telemetry


def batch(seqs: list[int], first_held: int = 1, boot: str = "b1", device: str = "pi") -> Batch:
    samples = tuple(Sample(seq=seq, mono_s=float(seq), wall_s=float(seq)) for seq in seqs)
    return Batch(device, Telemetry(boot=boot, first_held=first_held, samples=samples))


def acked(seq: int, boot: str = "b1", device: str = "pi") -> list[Acknowledged]:
    return [Acknowledged(device, boot, seq)]


def seqs_of(samples: SampleStore, device: str = "pi") -> list[int]:
    return [row["seq"] for row in samples.read(device)]


def test_samples_in_order_are_acknowledged_up_to_the_last(store: Store) -> None:
    samples = SampleStore(store)
    assert samples.add([batch([1, 2, 3])]) == acked(3)
    assert samples.add([batch([4, 5], first_held=4)]) == acked(5)


def test_a_gap_is_not_acknowledged_until_it_is_filled(store: Store) -> None:
    samples = SampleStore(store)
    assert samples.add([batch([1, 2, 5, 6])]) == acked(2)
    assert samples.add([batch([7])]) == acked(2)
    assert samples.add([batch([3, 4])]) == acked(7)


def test_nothing_is_acknowledged_while_the_oldest_held_sample_is_missing(store: Store) -> None:
    samples = SampleStore(store)
    assert samples.add([batch([3, 4])]) == []
    assert samples.add([batch([1, 2])]) == acked(4)


def test_what_the_device_dropped_is_not_waited_for(store: Store) -> None:
    samples = SampleStore(store)
    samples.add([batch([1, 2])])
    assert samples.add([batch([100, 101], first_held=100)]) == acked(101)


def test_the_same_samples_twice_are_stored_once_and_acknowledged_again(store: Store) -> None:
    samples = SampleStore(store)
    assert samples.add([batch([1, 2, 3])]) == acked(3)
    assert samples.add([batch([1, 2, 3]), batch([2, 3, 4])]) == acked(4)
    assert seqs_of(samples) == [1, 2, 3, 4]


def test_boots_and_devices_do_not_mix(store: Store) -> None:
    samples = SampleStore(store)
    added = samples.add([batch([1]), batch([1, 2], boot="b2"), batch([1, 2, 3], device="phone")])
    assert sorted(added) == sorted(acked(1) + acked(2, boot="b2") + acked(3, device="phone"))


def test_a_restarted_host_acknowledges_from_the_table(tmp_path: Path) -> None:
    first = Store(tmp_path / "f.sqlite")
    SampleStore(first).add([batch([1, 2, 3])])
    first.close()
    second = Store(tmp_path / "f.sqlite")
    assert SampleStore(second).add([batch([3, 4], first_held=1)]) == acked(4)
    second.close()


def test_reading_goes_on_after_the_last_id_and_can_begin_at_the_newest(store: Store) -> None:
    samples = SampleStore(store)
    samples.add([batch(list(range(1, 11)))])
    first = samples.read("pi", limit=4)
    rest = samples.read("pi", after=first[-1]["id"])
    assert [row["seq"] for row in first + rest] == list(range(1, 11))
    assert [row["seq"] for row in samples.read("pi", after=-1, limit=3)] == [8, 9, 10]


_BOOTS = itertools.count()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(st.tuples(st.integers(1, 6), st.lists(st.integers(1, 14), min_size=1, max_size=5)), max_size=8))
def test_acknowledgement_is_exactly_the_contiguous_run_from_the_oldest_held(
    store: Store, messages: list[tuple[int, list[int]]]
) -> None:
    samples, boot = SampleStore(store), f"boot-{next(_BOOTS)}"
    stored: set[int] = set()
    for first_held, seqs in messages:
        added = samples.add([batch(seqs, first_held=first_held, boot=boot)])
        stored |= set(seqs)
        reached = first_held - 1
        while reached + 1 in stored:
            reached += 1
        assert added == (acked(reached, boot=boot) if reached >= first_held else [])
    assert sorted(row["seq"] for row in samples.read("pi", limit=10**6) if row["boot"] == boot) == sorted(stored)
