"""How to go from one rung to another: beside the one that serves, or in its place.

*Overlap* builds the new rung while the old one serves: no request waits, but for a moment both are in memory. *Replace*
ends the old one first: requests wait for a new process image (half a second on a PC, seconds on a small board), but memory
only falls. So a switch overlaps wherever the new rung fits beside the old one, and replaces where it does not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from secateur_agent.governor.evidence import short
from secateur_agent.governor.ladder import RungModel
from secateur_agent.governor.limits import known, spare_memory
from secateur_agent.governor.types import GovernorSample, GovernorSettings
from secateur_agent.protocol.messages import SwitchMode


class SwitchChoice(NamedTuple):
    """The mode, and why in words ('' for an overlap) and as a JSON-able record."""

    mode: SwitchMode
    reason: str
    evidence: dict[str, Any]


def choose_switch(sample: GovernorSample, rung: RungModel, settings: GovernorSettings) -> SwitchChoice:
    """Choose how to switch to a rung.

    Two rungs in one worker share the bare runtime, so the new one takes its peak without that. Whether that fits is judged
    by the memory that is really free, not by an objective, which a short overlap may exceed. What is not known to be too
    little is an overlap, and so is a switch with no rung in memory.

    Args:
        sample: the device now.
        rung: the one to switch to.
        settings: for the margin that is left to everybody else.
    """
    spare = spare_memory(sample, settings)
    needs_mb = max(0.0, rung.peak_mb - (known(sample.runtime_base_mb) or 0.0))
    record: dict[str, Any] = {"needs_mb": short(needs_mb), "why": spare.why}
    if spare.value is None or sample.worker_rss_mb == 0 or needs_mb <= spare.value:
        return SwitchChoice("overlap", "", {"mode": "overlap", **record})
    spare_mb = max(0.0, spare.value)
    reason = f"the worker is replaced: {rung.id} needs {needs_mb:.3g} MB beside the rung before, {spare_mb:.3g} are spare"
    return SwitchChoice("replace", reason, {"mode": "replace", "spare_mb": short(spare_mb), **record})
