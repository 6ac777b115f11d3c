"""One-shot: every channel is scored once, in the full network."""

from __future__ import annotations

from secateur.scheduling.registry import Material, Outcome, schedule


@schedule("one-shot")
def one_shot(material: Material) -> Outcome:
    """Score the full network."""
    return Outcome(material.network, material.score())
