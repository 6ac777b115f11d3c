from __future__ import annotations

import pytest

from secateur_agent.board import record
from secateur_agent.board.layout import Layout


def test_what_was_noted_before_stays(layout: Layout) -> None:
    assert record.read(layout) == {}
    layout.opt.mkdir(parents=True)
    record.note(layout, account_made=True)
    record.note(layout, device="pi", clock_s=1)
    assert record.read(layout) == {"account_made": True, "device": "pi", "clock_s": 1}


@pytest.mark.parametrize(
    "damage", [b"", b"\x00", b"[]", b"1", b"[" * 100_000], ids=["empty", "zero", "list", "number", "deep"]
)
def test_one_that_is_damaged_is_as_none_and_can_be_written_again(layout: Layout, damage: bytes) -> None:
    layout.opt.mkdir(parents=True)
    layout.record.write_bytes(damage)
    assert record.read(layout) == {}
    record.note(layout, device="pi")
    assert record.read(layout) == {"device": "pi"}
