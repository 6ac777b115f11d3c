"""``secateur measure``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import secateur_profiles
from secateur.cli.console import print_fields, print_json
from secateur.cli.options import JsonOption
from secateur.ir import SecateurError

if TYPE_CHECKING:
    from secateur.ir import Network


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("measure")(measure)


def measure(
    profile: Annotated[str, typer.Option("--profile", metavar="NAME", help="The device profile.", show_default=False)],
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="MODEL", help="Time the operators of this: MODULE:FUNCTION or FILE.onnx.", show_default=False
        ),
    ] = "",
    task: Annotated[
        str,
        typer.Option(
            "--task", metavar="TASK", help="With MODULE:FUNCTION: what tells the input's shape.", show_default=False
        ),
    ] = "",
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="DIR",
            help="Time the operators of a bundle; its workspace must be beside it.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="int8 or fp32. Default: the profile's first.", show_default=False)
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="Where to write. Default: where 'compile' looks.", show_default=False
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often all operators take turns; more on a busy machine.", min=1)] = 9,
    as_json: JsonOption = False,
) -> None:
    """Time operators on this machine and write a latency table, from which 'compile' plans.

    Times the operators of a network at every width that its rungs can have, or without a network a standard set. Takes
    from half a minute to some minutes; close what else runs. Without -o the table goes to $XDG_DATA_HOME/secateur/latency,
    where 'compile' finds it for this profile on this machine as long as the runtime's version is the same.

    \b
    Example:
      secateur measure --profile linux-x86-64 --model net.onnx --precision fp32
    """
    # Torch takes seconds to import; no other command should wait for it.
    import torch

    from secateur.measuring import Here, count_points, measure_table
    from secateur.search.latency_table import write_table
    from secateur.targets import choose_precision, default_path

    if model and bundle is not None:
        raise SecateurError("measure: give --model or --bundle, not both")
    torch.set_num_threads(1)
    known = secateur_profiles.load(profile)
    chosen = choose_precision(known, (precision,) if precision else ())
    path = out or default_path(known.name, chosen)
    if path.is_dir():
        raise SecateurError(f"measure: {path} is a folder; -o names a file")
    network = _network(model, task, bundle)
    began = time.monotonic()
    table = measure_table(known, chosen, network, Here(rounds), _progress(quiet=as_json))
    write_table(path, table)
    seconds, points = round(time.monotonic() - began, 1), count_points([table])
    if as_json:
        summary = {"table": str(path), "key": table.key, "calibration": table.calibration}
        print_json({**summary, "operators": len(table.entries), "points": points, "seconds": seconds})
        return
    corrected = table.calibration
    print_fields(
        [
            ("table", path),
            (
                "for",
                f"{known.name}, {chosen}, {table.key.runtime} {table.key.runtime_version}, {table.key.threads} thread(s)",
            ),
            ("machine", table.key.machine),
            ("measured", f"{len(table.entries)} kinds of operator at {points} widths in {seconds:g} s"),
            (
                "overhead",
                f"{table.run_overhead_ms * 1e3:.1f} µs a run, {table.operator_overhead_ms * 1e3:.1f} µs an operator",
            ),
            (
                "correction",
                f"× {corrected.scale:.3g} + {corrected.offset_ms:.3g} ms, from {corrected.checked} whole networks"
                if corrected.checked
                else "none: no network was given to check the sum with",
            ),
        ]
    )


def _network(model: str, task: str, bundle: Path | None) -> Network | None:
    from secateur.load import load_model, load_task
    from secateur.workspace import load_workspace

    if bundle is not None:
        workspace = bundle if (bundle / "state.json").exists() else bundle.parent / "workspace"
        return load_workspace(workspace)[1].network
    if not model:
        return None
    return load_model(model, load_task(task).input_shape if task else None)


def _progress(quiet: bool) -> Callable[[str, int, int], None]:
    def tell(stage: str, done: int, total: int) -> None:
        if quiet or not sys.stderr.isatty():
            return
        text = f"operators {done}/{total}" if stage == "time" else "whole networks"
        print(f"\rtiming {text} … ", end="" if done < total or stage == "time" else "\n", file=sys.stderr, flush=True)

    return tell
