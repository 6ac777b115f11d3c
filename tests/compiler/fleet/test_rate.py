from __future__ import annotations

from secateur.fleet.rate import ByteRate


def test_the_average_stays_below_the_cap() -> None:
    now = [0.0]
    rate = ByteRate(1_000_000, clock=lambda: now[0])
    sent = 0
    while now[0] < 10.0:
        now[0] += rate.reserve(65536)
        sent += 65536
    assert 9_500_000 < sent < 10_400_000


def test_without_a_cap_nothing_waits() -> None:
    rate = ByteRate(0)
    assert [rate.reserve(10**9) for _ in range(3)] == [0.0, 0.0, 0.0]
