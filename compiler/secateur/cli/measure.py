"""``secateur measure``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import secateur_profiles
from secateur.cli.console import print_fields, print_json
from secateur.cli.measure_device import DeviceOptions, measure_device, progress, table_fields, table_summary
from secateur.cli.options import JsonOption, StateOption, UrlOption
from secateur.cli.units import parse_duration_s

if TYPE_CHECKING:
    from secateur.ir import Network


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("measure")(measure)


def measure(
    device: Annotated[
        str, typer.Argument(metavar="[DEVICE]", help="A device of the fleet; its agent measures.", show_default=False)
    ] = "",
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="The device profile; this machine measures.", show_default=False)
    ] = "",
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
    rungs: Annotated[
        bool, typer.Option("--rungs/--no-rungs", help="Of a device: first measure the rungs that it serves, too.")
    ] = True,
    patience: Annotated[str, typer.Option(metavar="TIME", help="How long a device may be away in the middle.")] = "60s",
    as_json: JsonOption = False,
    state: StateOption = None,
    url: UrlOption = "",
) -> None:
    """Time operators, on this machine or on a device, and write a latency table, from which 'compile' plans.

    Times the operators of a network at every width that its rungs can have, or without a network a standard set. Takes
    from half a minute to some minutes; close what else runs. Without -o the table goes to $XDG_DATA_HOME/secateur/latency,
    where 'compile' finds it for this profile on this machine as long as the runtime's version is the same.

    With a DEVICE its agent does the timing, and 'compile --measured-on DEVICE' plans from what it found; other compilations
    do not, unless you 'tables adopt' it. If device, controller or this command end in the middle, run the same again: only
    what is missing is timed.

    \b
    Examples:
      secateur measure --profile linux-x86-64 --model net.onnx --precision fp32
      secateur measure pi-kitchen --bundle build/net-raspberry-pi-4b.bundle
    """
    from secateur.ir import SecateurError

    if model and bundle is not None:
        raise SecateurError("measure: give --model or --bundle, not both")
    if not device and not profile:
        raise SecateurError("measure: name a DEVICE, or with --profile what this machine stands for")
    if device:
        if out is not None:
            raise SecateurError("measure: a device's table lies in the data folder; -o goes with --profile")
        asked = DeviceOptions(device, profile, precision, rounds, rungs, parse_duration_s(patience, "--patience"), as_json)
        measure_device(asked, state, url, lambda: _network(model, task, bundle))
        return
    # Torch takes seconds to import; no other command should wait for it.
    import torch

    from secateur.measuring import Here, measure_table
    from secateur.search.latency_table import write_table
    from secateur.targets import choose_precision, default_path

    torch.set_num_threads(1)
    known = secateur_profiles.load(profile)
    chosen = choose_precision(known, (precision,) if precision else ())
    path = out or default_path(known.name, chosen)
    if path.is_dir():
        raise SecateurError(f"measure: {path} is a folder; -o names a file")
    network = _network(model, task, bundle)
    began = time.monotonic()
    table = measure_table(known, chosen, network, Here(rounds), progress(quiet=as_json))
    write_table(path, table)
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        print_json(table_summary(path, table, seconds))
    else:
        print_fields(table_fields(path, table, seconds))


def _network(model: str, task: str, bundle: Path | None) -> Network | None:
    from secateur.load import load_model, load_task
    from secateur.workspace import load_workspace

    if bundle is not None:
        workspace = bundle if (bundle / "state.json").exists() else bundle.parent / "workspace"
        return load_workspace(workspace)[1].network
    if not model:
        return None
    return load_model(model, load_task(task).input_shape if task else None)
