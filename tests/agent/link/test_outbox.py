from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur_agent.link import Outbox
from secateur_agent.link.outbox import MAX_BATCHES_IN_FLIGHT, MAX_UNCOMMITTED, RESEND_S
from secateur_agent.protocol.messages import Reading, Telemetry, decode, encode
from secateur_agent.store import StoreError

READINGS = {"cpu_temp": Reading(48.5, "°C", "thermal_zone0", "measured")}


def append(outbox: Outbox, count: int = 1, start_s: float = 0.0) -> list[int]:
    return [outbox.append(1.7e9 + n, start_s + 2.0 * n, "r0-int8", n, 0, READINGS) for n in range(count)]


class Host:
    """Stores samples by (boot, seq), and acknowledges as the protocol says: without gaps from ``first_held`` on."""

    def __init__(self) -> None:
        self.stored: dict[str, set[int]] = {}
        self.order: list[tuple[str, int]] = []

    def take(self, batch: Telemetry) -> int:
        batch = decode(encode(batch), Telemetry)
        stored = self.stored.setdefault(batch.boot, set())
        for sample in batch.samples:
            if sample.seq not in stored:
                stored.add(sample.seq)
                self.order.append((batch.boot, sample.seq))
        seq = batch.first_held - 1
        while seq + 1 in stored:
            seq += 1
        return seq


def drain(outbox: Outbox, host: Host, now_s: float = 1000.0, limit: int = 50) -> None:
    while (batch := outbox.next_batch(now_s, limit)) is not None:
        outbox.acknowledge(batch.boot, host.take(batch))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def test_samples_are_numbered_and_travel_whole(path: Path) -> None:
    outbox = Outbox(path, "boot-1")
    assert outbox.next_batch(0.0) is None
    assert append(outbox, 3) == [1, 2, 3]
    batch = outbox.next_batch(10.0)
    assert batch is not None
    assert (batch.boot, batch.first_held) == ("boot-1", 1)
    assert [sample.seq for sample in batch.samples] == [1, 2, 3]
    assert batch.samples[2].readings == READINGS
    assert (batch.samples[2].mono_s, batch.samples[2].wall_s, batch.samples[2].requests) == (4.0, 1.7e9 + 2, 2)
    assert outbox.held() == 3
    assert outbox.acknowledge("boot-1", 2) == 2
    assert outbox.acknowledge("boot-1", 3) == 1
    assert outbox.acknowledge("boot-1", 3) == 0
    assert outbox.acknowledge("another", 99) == 0
    assert outbox.held() == 0


def test_earlier_boots_come_first_and_in_order(path: Path) -> None:
    first = Outbox(path, "boot-1")
    append(first, 3)
    first.close()
    second = Outbox(path, "boot-2")
    assert append(second, 2) == [1, 2]
    second.close()
    third = Outbox(path, "boot-3")
    append(third, 1)
    host = Host()
    drain(third, host, limit=2)
    assert host.order == [("boot-1", 1), ("boot-1", 2), ("boot-1", 3), ("boot-2", 1), ("boot-2", 2), ("boot-3", 1)]
    assert third.held() == 0


def test_first_held_tells_where_the_host_may_begin(path: Path) -> None:
    outbox = Outbox(path, "boot", max_samples=10)
    append(outbox, 25)
    batch = outbox.next_batch(100.0, limit=4)
    assert batch is not None
    assert batch.first_held == batch.samples[0].seq == 16
    assert (outbox.held(), outbox.dropped) == (10, 15)
    assert Host().take(batch) == 19
    outbox.close()
    assert Outbox(path, "boot", max_samples=10).dropped == 15


def test_unanswered_batches_are_sent_again_one_at_a_time_and_less_often(path: Path) -> None:
    outbox = Outbox(path, "boot")
    append(outbox, 60)
    first = [outbox.next_batch(200.0, limit=10) for _ in range(MAX_BATCHES_IN_FLIGHT)]
    assert [batch.samples[0].seq for batch in first if batch] == [1, 11, 21, 31]
    assert outbox.next_batch(200.0, limit=10) is None
    assert outbox.next_batch(200.0 + RESEND_S - 1, limit=10) is None
    assert outbox.next_batch(200.0 + RESEND_S, limit=10) == first[0]
    assert outbox.next_batch(200.0 + RESEND_S, limit=10) is None
    assert outbox.next_batch(200.0 + 2 * RESEND_S, limit=10) is None
    assert outbox.next_batch(200.0 + 3 * RESEND_S, limit=10) == first[0]
    assert outbox.acknowledge("boot", 40) == 40
    rest = [outbox.next_batch(300.0, limit=10) for _ in range(3)]
    assert [batch.samples[0].seq if batch else None for batch in rest] == [41, 51, None]


def test_reconnect_sends_what_was_in_flight_at_once(path: Path) -> None:
    outbox = Outbox(path, "boot")
    append(outbox, 5)
    batch = outbox.next_batch(20.0)
    assert outbox.next_batch(20.0) is None
    outbox.rewind()
    assert outbox.next_batch(20.0) == batch


def test_commits_are_grouped(path: Path) -> None:
    """A sync per metric wore out storage elsewhere (telegraf#16500)."""
    outbox = Outbox(path, "boot")
    for n in range(50):
        outbox.append(0.0, 100.0 + n * 0.1, "", 0, 0, {})
    reader = sqlite3.connect(path)
    committed = reader.execute("SELECT count(*) FROM samples").fetchone()[0]
    assert 35 <= committed < 50
    assert outbox.held() == 50
    batch = outbox.next_batch(105.0)
    assert batch is not None
    assert len(batch.samples) == 50
    assert reader.execute("SELECT count(*) FROM samples").fetchone()[0] == 50
    reader.close()


SENDER = """
import sys
from pathlib import Path
from secateur_agent.link import Outbox
from secateur_agent.protocol.messages import encode
outbox = Outbox(Path(sys.argv[1]), "boot")
now_s = 0.0
while True:
    now_s += 0.3
    outbox.append(0.0, now_s, "", 0, 0, {})
    batch = outbox.next_batch(now_s, 5) if int(now_s * 10) % 4 == 0 else None
    if batch:
        print(encode(batch).decode(), flush=True)
        outbox.acknowledge("boot", batch.samples[-1].seq - 2)
"""


def test_sigkill_never_uses_a_number_twice_nor_loses_a_sample_that_was_sent(path: Path) -> None:
    told: dict[int, float] = {}
    last = 0
    for lines in (1, 7, 40, 3):
        process = subprocess.Popen([sys.executable, "-c", SENDER, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        output = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        output += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        new: set[int] = set()
        for line in output:
            if not line.endswith(b"\n"):
                continue
            for sample in decode(line, Telemetry).samples:
                if sample.seq > last:
                    new.add(sample.seq)
                else:
                    assert sample.seq in told
                    continue
                told[sample.seq] = sample.mono_s
        assert new == set(range(last + 1, last + 1 + len(new)))
        last = max(told)
        # What is still held has the numbers that the host was told, or later ones.
        outbox = Outbox(path, "boot")
        batch = outbox.next_batch(0.0, 1000)
        held = {sample.seq: sample.mono_s for sample in batch.samples} if batch else {}
        assert all(told[seq] == mono_s for seq, mono_s in held.items() if seq in told)
        assert append(outbox)[0] > last
        drain(outbox, Host())
        last = outbox.append(0.0, 0.0, "", 0, 0, {})
        told.update(dict.fromkeys(range(1, last + 1), 0.0) | told)
        outbox.close()


def test_full_disk_keeps_samples_in_memory_then_refuses_without_a_gap(path: Path) -> None:
    """A disk buffer stopped for ever elsewhere (telegraf#16314), or memory grew until the end (telegraf#942)."""
    outbox = Outbox(path, "boot")
    append(outbox, 10)
    connection = outbox._file._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    refused, line = 0, ""
    for n in range(MAX_UNCOMMITTED + 300):
        try:
            outbox.append(0.0, 100.0 + 2 * n, "", 0, 0, {})
        except StoreError as error:
            refused += 1
            line = str(error)
    assert refused > 0
    assert "disk is full" in line
    assert "\n" not in line
    assert refused == outbox.dropped
    assert "free some space" in outbox.fault
    assert outbox.next_batch(9000.0) is not None
    connection.execute("PRAGMA max_page_count = 100000")
    outbox.rewind()
    host = Host()
    drain(outbox, host, now_s=9001.0)
    assert outbox.fault == ""
    assert sorted(host.stored["boot"]) == list(range(1, 10 + MAX_UNCOMMITTED + 300 - refused + 1))
    assert outbox.held() == 0


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"outbox .*absent/outbox.db: unable to open database file") as caught:
        Outbox(tmp_path / "absent" / "outbox.db", "boot")
    assert "\n" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(
    damage=st.lists(st.tuples(st.integers(0, 40_000), st.binary(min_size=1, max_size=400)), min_size=1, max_size=8),
    cut=st.none() | st.integers(0, 40_000),
    suffix=st.sampled_from(["", "-wal"]),
)
def test_a_damaged_file_never_stops_telemetry(damage: list[tuple[int, bytes]], cut: int | None, suffix: str) -> None:
    """All NULs or garbage after a power cut: what can be read is sent, the rest set aside (compare mosquitto#2639)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outbox.db"
        outbox = Outbox(path, "boot-1")
        append(outbox, 60)
        content = {name: path.with_name(path.name + name).read_bytes() for name in ("", "-wal")}
        outbox.close()
        for name, whole in content.items():
            path.with_name(path.name + name).write_bytes(whole)
        broken = path.with_name(path.name + suffix)
        data = bytearray(broken.read_bytes())
        for offset, noise in damage:
            offset %= len(data)
            data[offset : offset + len(noise)] = noise
        broken.write_bytes(data[:cut])
        after = Outbox(path, "boot-2")
        sent = append(after, 5)
        assert sent == list(range(sent[0], sent[0] + 5))
        host = Host()
        for now_s in range(0, 4000, 250):
            drain(after, host, now_s=float(now_s))
        assert after.held() == 0
        assert set(sent) <= host.stored["boot-2"]
        after.close()


def test_numbers_stay_unique_when_the_file_of_this_boot_is_lost(path: Path) -> None:
    outbox = Outbox(path, "boot")
    append(outbox, 5)
    outbox.close()
    path.write_bytes(b"\x00" * 8192)
    again = Outbox(path, "boot")
    first = append(again)[0]
    assert first > 1 << 40
    assert path.with_name("outbox.db.damaged").exists()
    again.close()
    reopened = Outbox(path, "boot")
    assert append(reopened) == [first + 1]


def test_damage_while_running_starts_a_new_file_and_numbers_go_on(path: Path) -> None:
    outbox = Outbox(path, "boot")
    append(outbox, 500)
    for name in (path, path.with_name("outbox.db-wal")):
        with name.open("r+b") as file:
            file.write(b"\xa5" * name.stat().st_size)
    outbox._file._connection.execute("PRAGMA shrink_memory")
    sent = append(outbox, 5, start_s=5000.0)
    assert sent == [501, 502, 503, 504, 505]
    host = Host()
    for now_s in range(6000, 9000, 250):
        drain(outbox, host, now_s=float(now_s))
    assert set(sent) <= host.stored["boot"]
    assert outbox.held() == 0
    assert len(host.stored["boot"]) + outbox.dropped >= 505
    outbox.close()
    assert append(Outbox(path, "boot"))[0] >= 506


def test_a_damaged_row_is_dropped_and_the_rest_is_sent(path: Path) -> None:
    outbox = Outbox(path, "boot")
    append(outbox, 5)
    outbox.next_batch(10.0)
    outbox.rewind()
    for seq, value in ((2, b"{"), (3, 10**12), (4, None)):
        if value is not None:
            outbox._file._connection.execute("UPDATE samples SET body = ? WHERE seq = ?", (value, seq))
    host = Host()
    for now_s in (20.0, 40.0, 80.0):
        drain(outbox, host, now_s=now_s)
    assert host.stored["boot"] == {1, 4, 5}
    assert (outbox.held(), outbox.dropped) == (0, 2)


STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 12)),
    st.tuples(st.just("send"), st.integers(1, 9)),
    st.tuples(st.just("send, ack lost"), st.integers(1, 9)),
    st.tuples(st.just("lost"), st.integers(1, 9)),
    st.tuples(st.just("reconnect"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("new boot"), st.just(0)),
    st.tuples(st.just("killed"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=40), max_samples=st.sampled_from([5, 20, 1000]))
def test_each_sample_is_delivered_once_and_none_is_missing_but_what_the_bound_dropped(
    steps: list[tuple[str, int]], max_samples: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outbox.db"
        boot, boots, now_s = "boot-0", 0, 0.0
        outbox = Outbox(path, boot, max_samples)
        host = Host()
        appended: dict[tuple[str, int], float] = {}
        for step, number in steps:
            if step == "append":
                for _ in range(number):
                    now_s += 0.4
                    seq = outbox.append(now_s, now_s, "", 0, 0, {})
                    assert seq == 1 + max((s for b, s in appended if b == boot), default=0)
                    appended[boot, seq] = now_s
            elif step == "reconnect":
                outbox.rewind()
            elif step in ("restart", "new boot"):
                outbox.close()
                boots += step == "new boot"
                boot = f"boot-{boots}"
                outbox = Outbox(path, boot, max_samples)
            elif step == "killed":
                lost = [sample.seq for sample in outbox._uncommitted]
                outbox._file.close()
                for seq in lost:
                    assert seq not in host.stored.get(boot, set())
                    del appended[boot, seq]
                outbox = Outbox(path, boot, max_samples)
            elif step == "wait":
                now_s += number
            else:
                batch = outbox.next_batch(now_s, number)
                if batch is None or step == "lost":
                    continue
                assert all(appended[batch.boot, sample.seq] == sample.mono_s for sample in batch.samples)
                seq = host.take(batch)
                if step == "send":
                    outbox.acknowledge(batch.boot, seq)
        outbox.rewind()
        for _ in range(20):
            now_s += 300.0
            drain(outbox, host, now_s)
        assert outbox.held() == 0
        delivered = [(b, s) for b, s in host.order]
        assert len(delivered) == len(set(delivered))
        missing = set(appended) - set(delivered)
        assert set(delivered) <= set(appended)
        assert len(missing) <= outbox.dropped
        if max_samples == 1000:
            assert not missing
        outbox.close()


def test_batches_stay_below_the_message_limit(path: Path) -> None:
    outbox = Outbox(path, "boot")
    long = {f"sensor-{n}": Reading(1.0, "V", "x" * 200, "estimated", "y" * 200) for n in range(100)}
    for n in range(20):
        outbox.append(0.0, float(n), "", 0, 0, long)
    host = Host()
    sizes = []
    while (batch := outbox.next_batch(50.0)) is not None:
        sizes.append(len(json.dumps(json.loads(encode(batch)))))
        outbox.acknowledge(batch.boot, host.take(batch))
    assert max(sizes) < 1 << 19
    assert host.stored["boot"] == set(range(1, 21))
