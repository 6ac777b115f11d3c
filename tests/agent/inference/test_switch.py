"""The overlap switch: leases keep a rung alive, a swap waits for them, a failure changes nothing."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from secateur_agent.inference.backend import BackendError
from secateur_agent.inference.switch import RungSwitch

ONES = {"x": np.ones((1, 4), np.float32)}


def test_before_the_first_rung_there_is_nothing_to_lease() -> None:
    switch = RungSwitch()
    with switch.lease() as rung:
        assert rung is None
    assert switch.in_flight == 0


def test_a_request_that_began_before_the_swap_ends_on_its_rung(tiny_rungs: Any) -> None:
    """How to switch a slimmable network on a phone was asked and never answered (JiahuiYu/slimmable_networks#54)."""
    switch = RungSwitch()
    switch.load(tiny_rungs.make("r0-fp32", scale=1.0))
    swap = threading.Thread(target=switch.load, args=(tiny_rungs.make("r1-fp32", scale=2.0),))
    with switch.lease() as before:
        assert before is not None
        swap.start()
        while switch.serving is before:
            swap.join(0.01)
        with switch.lease() as after:
            assert after is not None
            assert switch.in_flight == 2
            assert float(after.run(ONES)["y"][0, 0]) == 8.0
        assert swap.is_alive(), "the swap must wait for the request that still runs"
        assert float(before.run(ONES)["y"][0, 0]) == 4.0
    swap.join(30)
    assert not swap.is_alive()
    assert switch.in_flight == 0


def test_a_failed_load_leaves_the_rung_before_in_place(tiny_rungs: Any) -> None:
    switch = RungSwitch()
    loaded = switch.load(tiny_rungs.make())
    assert (loaded.rung, loaded.drain_ms >= 0, loaded.build_ms > 0) == ("r0-fp32", True, True)
    with pytest.raises(BackendError):
        switch.load(tiny_rungs.make("r1-fp32", sha256="0" * 64))
    assert switch.serving is not None
    assert switch.serving.load.rung == "r0-fp32"


def test_the_median_latency_is_of_the_rung_that_serves(tiny_rungs: Any) -> None:
    switch = RungSwitch()
    switch.load(tiny_rungs.make())
    assert switch.serving is not None
    assert switch.serving.latency_p50_ms is None
    switch.serving.run(ONES)
    assert (switch.serving.latency_p50_ms or 0) > 0
