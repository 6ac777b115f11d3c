"""Resident memory of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur_agent.profiling import memory


def test_the_peak_is_at_least_what_is_resident_now() -> None:
    now_mb = memory.rss_mb()
    peak_mb = memory.peak_rss_mb()
    assert now_mb is not None
    assert peak_mb is not None
    assert peak_mb >= now_mb > 5


@pytest.mark.parametrize("text", [None, "", "VmRSS:\n", "VmRSS: many kB\n", "VmHWM\n\xff"])
def test_a_system_without_proc_says_unknown_and_the_peak_has_another_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    status = tmp_path / "status"
    if text is not None:
        status.write_bytes(text.encode("latin-1"))
    monkeypatch.setattr(memory, "_STATUS", status)
    assert memory.rss_mb() is None
    assert (memory.peak_rss_mb() or 0) > 5
