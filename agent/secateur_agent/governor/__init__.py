"""The governor picks the rung, as a CPU-frequency governor picks a clock: pure functions over samples of the device.

Read in this order: ``types`` (what goes in and out), ``ladder`` (what each rung costs here), ``limits`` (what a rung may
cost now), ``feasibility`` (which rungs may run), ``switch_mode`` (beside the rung before or in its place), ``reprune``
(when to ask for a new rung), ``policy`` (`decide`).
"""

from secateur_agent.governor.ladder import RungModel, merge
from secateur_agent.governor.policy import decide
from secateur_agent.governor.types import Decision, GovernorSample, GovernorSettings, GovernorState, rebase

__all__ = [
    "Decision",
    "GovernorSample",
    "GovernorSettings",
    "GovernorState",
    "RungModel",
    "decide",
    "merge",
    "rebase",
]
