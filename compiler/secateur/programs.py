"""Programs of a bundle: which rungs carry one, and whose a rung that is cut later may share.

Rungs of one precision with the same blocks have the same program; the first of them carries it, signed by the offline key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from secateur.assembly import BuiltRung
from secateur.ir import Groups
from secateur.ir.groups import Keep
from secateur_agent.bundle.recipe import encode_recipe


class Parent(msgspec.Struct):
    """A recipe in the bundle whose program later rungs share.

    Attributes:
        precision: of its rung.
        dropped: ids of the blocks that its rung does without; rungs with others have another program.
        keep: its rung's keep-counts; no rung may have longer private vectors than its parent.
        file: its name in the workspace.
    """

    precision: str
    dropped: list[str]
    keep: dict[str, int]
    file: str


def parents_of(rungs: Sequence[BuiltRung], groups: Groups, profile: str) -> list[Parent]:
    """Return the rungs of a ladder that carry a program.

    Args:
        rungs: the ladder.
        groups: of the network.
        profile: name of the device profile, which the names of files begin with.
    """
    found: list[Parent] = []
    for rung in rungs:
        if not rung.inherits:
            entry, dropped = rung.entry, list(groups.dropped(rung.entry.keep))
            name = entry.id if dropped or found else entry.precision
            found.append(Parent(entry.precision, dropped, entry.keep, f"{profile}-{name}.recipe"))
    return found


def write_parents(folder: Path, parents: Sequence[Parent], rungs: Sequence[BuiltRung]) -> None:
    """Keep the recipes whose program later rungs share.

    Args:
        folder: of the workspace.
        parents: from `parents_of`.
        rungs: the same ladder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for parent, rung in zip(parents, (rung for rung in rungs if not rung.inherits)):
        (folder / parent.file).write_bytes(encode_recipe(rung.recipe))


def parent_for(parents: Sequence[Parent], groups: Groups, precision: str, keep: Keep) -> Parent | None:
    """Return whose program a rung of these keep-counts shares; None if it would need a program of its own.

    Args:
        parents: those that the bundle has.
        groups: of the network.
        precision: of the rung.
        keep: of the rung.
    """
    for parent in parents:
        same = parent.precision == precision and tuple(parent.dropped) == groups.dropped(keep)
        if same and all(parent.keep.get(key, count) >= count for key, count in keep.items()):
            return parent
    return None
