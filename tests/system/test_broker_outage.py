"""The broker is away for some seconds, and has forgotten everything when it comes back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tests.system.stack import Stack, expected, infer, infer_soon
from tests.system.witness import Witness


def test_telemetry_of_an_outage_arrives_once_and_the_device_is_not_deaf_afterwards(
    make_stack: Callable[..., Stack], witness: Witness
) -> None:
    """Agent deaf after a reconnect (thin-edge.io#3462); disk buffer stops (telegraf#16314)."""
    stack = make_stack()
    infer_soon(stack.agent)
    (boot,) = stack.eventually("telemetry", stack.stored)
    stack.broker.kill()
    before = stack.stored()[boot][-1]
    # Counted in samples of the outage, not in seconds: a loaded machine takes fewer. What the host has stored may be held
    # still, if the broker went before its acknowledgement.
    stack.eventually("samples held", lambda: stack.outbox()[1].get(boot, [0])[-1] >= before + 8)
    np.testing.assert_allclose(infer(stack.agent)[0], expected(16), rtol=1e-5)
    held = stack.outbox()[1][boot][-1]
    stack.broker.start()

    stack.eventually("telemetry of the outage", lambda: set(range(1, held + 1)) <= set(stack.stored()[boot]))
    assert held >= before + 8
    seqs = stack.stored()[boot]
    assert len(seqs) == len(set(seqs))
    samples = sorted(stack.call("telemetry", stack.device), key=lambda sample: sample["seq"])
    times_s = [sample["mono_s"] for sample in samples]
    assert times_s == sorted(times_s)

    # Its model is not the host's, so the host cannot pin; a command must reach it all the same.
    command = stack.call("command", stack.device, "diagnose", 60.0)
    stack.eventually("answer", lambda: stack.command_status(command["id"]) == "done")
    stack.assert_no_sample_is_lost_or_stored_twice(witness.acknowledged)


def test_a_stuck_command_never_blocks_the_next(make_stack: Callable[..., Stack]) -> None:
    """One stuck deployment blocks all later ones (greengrass-nucleus#1203, #807)."""
    stack = make_stack()
    infer_soon(stack.agent)
    stuck = stack.call("command", stack.device, "measure", 60.0)
    helper = stack.eventually("measurement", lambda: stack.helpers("secateur_agent.profiling.rung"))[0]
    helper.suspend()
    try:
        following = stack.call("command", stack.device, "diagnose", 60.0)
        stack.eventually("answer", lambda: stack.command_status(following["id"]) == "done")
        assert stack.command_status(stuck["id"]) == "executing"
        np.testing.assert_allclose(infer(stack.agent)[0], expected(16), rtol=1e-5)
    finally:
        helper.resume()
    stack.eventually("end of the stuck one", lambda: stack.command_status(stuck["id"]) == "done")
