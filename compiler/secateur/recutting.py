"""One more rung from the base of an earlier compilation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from secateur.assembly import build_rung
from secateur.bundle.keys import Keys, default_folder, load_or_create_keys
from secateur.compilation import RecutRung
from secateur.ir import InfeasibleError, SecateurError
from secateur.programs import parent_for
from secateur.search import Costs, Roofline
from secateur.search.choose import corrections, latency_model, plan_between
from secateur.workspace import load_workspace, locked, read_file, steps_of, write_state
from secateur_agent.bundle.manifest import Recut
from secateur_agent.bundle.recipe import decode_recipe
from secateur_agent.protocol.messages import Constraints, RungMeasurement

__all__ = ["RecutRung", "recut"]


def recut(
    workspace: Path,
    profile: str,
    constraints: Constraints,
    measurements: Sequence[RungMeasurement],
    keys: Keys | None = None,
    precision: str = "",
) -> RecutRung:
    """Cut one more rung from the base of an earlier compilation.

    Args:
        workspace: the folder that `compile` left.
        profile: the device profile whose bundle the rung joins.
        constraints: what it must meet on the device.
        measurements: what the device measured of its rungs: the planned latencies are corrected by them.
        keys: must hold the ``recut`` key; the default folder's if None.
        precision: of the rung; the bundle's if empty.

    Returns:
        The rung. Its shared weights are slices of the same base, its recipe has no program of its own.

    Raises:
        InfeasibleError: if no width between the rungs meets the constraints.
        SecateurError: if the workspace does not have this profile.
    """
    start = time.perf_counter()
    signer = keys or load_or_create_keys(default_folder())
    with locked(workspace):
        state, master, judge = load_workspace(workspace)
        if profile not in state.profiles:
            raise SecateurError(
                f"workspace {workspace}: no bundle for profile {profile!r}; it has {', '.join(state.profiles)}"
            )
        mine = state.profiles[profile]
        master = replace(master, floating=frozenset(mine.floating))
        chosen = precision or next(iter(mine.bases))
        if chosen not in mine.bases:
            raise SecateurError(f"workspace {workspace}: no {chosen} base for {profile}; it has {', '.join(mine.bases)}")
        model = Roofline(mine.device, chosen, master.floating)
        costs = Costs(master.network, master.groups)
        latency = latency_model(mine.rungs, measurements)
        path = steps_of(mine)
        device = corrections(path, costs, model, mine.rungs, measurements)
        # The online key may sign only what shares a program of the bundle.
        sharing = [step for step in path if parent_for(mine.parents, master.groups, chosen, step.keep)]
        if not sharing:
            raise InfeasibleError(f"re-cut for {profile}: no width shares the program of a {chosen} rung; compile again")
        found = plan_between(sharing, costs, model, latency, constraints, mine.rungs, device)
        found = replace(found, latency_source=mine.latency_source)
        program = parent_for(mine.parents, master.groups, chosen, found.keep)
        assert program is not None, "the plan is one of those that share a program"
        parent = decode_recipe(read_file(workspace, program.file))
        runtime = mine.device.runtime.name
        rung = build_rung(master, judge, found, mine.next_number, chosen, mine.bases[chosen], parent, runtime)
        if rung.gate.reason:
            raise InfeasibleError(f"re-cut for {profile}: {rung.gate.reason}")
        if not rung.inherits:
            raise SecateurError(f"re-cut for {profile}: the rung's program is not that of the bundle; compile again")
        envelope = signer.seal("recut", Recut(bundle=mine.bundle, rung=rung.entry))
        mine.next_number += 1
        mine.rungs[rung.entry.id] = rung.entry.latency_ms
        write_state(workspace, state)
    return RecutRung(rung.entry, rung.recipe_file, envelope, round(time.perf_counter() - start, 2))
