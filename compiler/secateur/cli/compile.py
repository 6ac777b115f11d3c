"""``secateur compile``."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperCommand

from secateur.cli.console import console, print_json, print_table, size
from secateur.cli.options import JsonOption, StateOption
from secateur.cli.pruning_options import (
    RegulariserOption,
    RegulariserStepsOption,
    RegulariserStrengthOption,
    ScheduleOption,
    ScheduleStepsOption,
    SparsityCriterionOption,
    SparsityOption,
    SparsityPatternOption,
    SparsityStepsOption,
)
from secateur.cli.quantization_options import Int8MayLoseOption, PrecisionOption, QatStepsOption
from secateur.cli.units import parse_duration_s

_STAGES = {
    "load": "bring to normal form",
    "prove": "prove the channel groups",
    "weigh": "time each precision",
    "rank": "rank channels",
    "search": "measure what cutting costs",
    "refine": "try whole networks",
    "tune": "tune all rungs together",
    "sparsify": "prune weights",
    "equalise": "even out channels",
    "qat": "tune in int8",
    "mix": "see what layers cost in int8",
    "build": "quantize, export, gate",
    "pack": "pack and sign",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compile", cls=_WithCriteria)(compile_)


class _WithCriteria(TyperCommand):
    """Its help lists the criteria that are registered; only there are they imported, since torch takes seconds."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # the types are click's or typer's own copy's
        from secateur.criteria import descriptions

        with formatter.section("Criteria (--criterion NAME)"):
            formatter.write_dl(list(descriptions().items()))
        super().format_epilog(ctx, formatter)


def compile_(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="MODULE:FUNCTION or FILE.onnx.", show_default=False)],
    task: Annotated[
        str, typer.Option("--task", metavar="TASK", help="MODULE:OBJECT or FILE.npz with the data.", show_default=False)
    ],
    profile: Annotated[
        list[str], typer.Option("--profile", metavar="NAME", help="A device profile; may be repeated.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where to write.", show_default=False)],
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="KIND=VALUE",
            help="latency=20ms, memory=200MB, energy=5mJ, size=500KB or accuracy-drop=1 (points); may be repeated.",
            show_default=False,
        ),
    ] = None,
    rungs: Annotated[int, typer.Option(help="Most rungs of a ladder, with the original.", min=2, max=32)] = 5,
    name: Annotated[str, typer.Option(metavar="NAME", help="Of the model. Default: from MODEL.", show_default=False)] = "",
    criterion: Annotated[str, typer.Option(metavar="NAME", help="What ranks channels; see below.")] = "magnitude-l2",
    steps: Annotated[int, typer.Option(help="Steps of tuning; 0 reconstructs and recalibrates only.", min=0)] = 300,
    balance: Annotated[
        float,
        typer.Option(
            help="What tuning cares for: 0 for the smallest rungs most, 1 for all the same, so that large ones are better.",
            min=0,
            max=1,
        ),
    ] = 0.0,
    largest_may_lose: Annotated[
        float,
        typer.Option(
            metavar="POINTS",
            help="What the largest rung may lose on validation; tuning is taken back as far as that needs.",
            min=0,
            max=100,
        ),
    ] = 0.2,
    precision: PrecisionOption = None,
    int8_may_lose: Int8MayLoseOption = 0.3,
    qat_steps: QatStepsOption = 0,
    latency_table: Annotated[
        list[Path] | None,
        typer.Option(
            "--latency-table",
            metavar="FILE",
            help="Plan from these measured latencies (see 'measure') instead of the roofline; may be repeated.",
            show_default=False,
        ),
    ] = None,
    measured_on: Annotated[
        list[str] | None,
        typer.Option(
            "--measured-on",
            metavar="DEVICE",
            help="Plan from what this device of the fleet measured (see 'measure DEVICE'); may be repeated. Unless "
            "--verify-latency is given, rungs are not measured here then.",
            show_default=False,
        ),
    ] = None,
    verify_latency: Annotated[
        bool | None,
        typer.Option(
            "--verify-latency/--no-verify-latency",
            help="Measure the rungs here: budgets bind what is measured, and those no faster than a larger one are "
            "dropped. Default: for linux-x86-64 alone.",
            show_default=False,
        ),
    ] = None,
    drop_blocks: Annotated[
        bool, typer.Option("--drop-blocks", help="Rungs may do without whole residual branches, too.")
    ] = False,
    block_criterion: Annotated[
        str, typer.Option(metavar="NAME", help="What ranks blocks: block-influence, recoverability.")
    ] = "block-influence",
    search_budget: Annotated[
        str,
        typer.Option(
            "--search-budget",
            metavar="TIME",
            help="How long to try whole networks that may be better rungs than the planned ones, e.g. 30s or 5min; "
            "an interrupted search goes on where it was. Default: none.",
            show_default=False,
        ),
    ] = "",
    threads: Annotated[int, typer.Option(help="Of torch on this machine.", min=1)] = 1,
    keys: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the signing keys; created if missing.", show_default=False)
    ] = None,
    schedule: ScheduleOption = "one-shot",
    schedule_steps: ScheduleStepsOption = 300,
    regulariser: RegulariserOption = "none",
    regulariser_steps: RegulariserStepsOption = 200,
    regulariser_strength: RegulariserStrengthOption = None,
    sparsity: SparsityOption = 0.0,
    sparsity_pattern: SparsityPatternOption = "ratio",
    sparsity_criterion: SparsityCriterionOption = "magnitude",
    sparsity_steps: SparsityStepsOption = 100,
    as_json: JsonOption = False,
    state: StateOption = None,
) -> None:
    """Compile a trained network into a ladder for one or more devices.

    Writes NAME-PROFILE.bundle for each profile, report.html, report.json, and workspace, which later cuts need. Budgets bind
    every rung but the original; if no network meets them, nothing is written and the exit status is 3.

    \b
    TASK is MODULE:OBJECT with batches(split) for train, calibration, validation and test, or FILE.npz with float32 x_train
    and x_test in the model's own layout and optional integer labels y_train and y_test. Without labels a rung is measured
    by its agreement with the original.

    Latencies are planned from a table that 'measure' made, if one is given or lies in the data folder for this machine, else
    from the profile's roofline; the output says which.

    \b
    Example:
      secateur compile net.onnx --task data.npz --profile raspberry-pi-4b --budget latency=20ms -o build
    """
    # Torch takes seconds to import; no other command should wait for it.
    import torch

    from secateur.bundle.keys import default_folder, load_or_create_keys
    from secateur.cli.measured_on import measured_tables
    from secateur.ir import parse_budget
    from secateur.pipeline import CompileSettings, compile
    from secateur.report import notes, summarise, write_report

    torch.set_num_threads(threads)
    settings = CompileSettings(
        budget=parse_budget(budget or []),
        rungs=rungs,
        criterion=criterion,
        steps=steps,
        balance=balance,
        largest_may_lose=largest_may_lose,
        precisions=tuple(precision or ()),
        int8_may_lose=int8_may_lose,
        qat_steps=qat_steps,
        latency_tables=(*(latency_table or ()), *measured_tables(measured_on or (), profile, precision or (), state)),
        find_tables=True,
        verify_latency=False if measured_on and verify_latency is None else verify_latency,
        search_seconds=parse_duration_s(search_budget, "--search-budget") if search_budget else 0.0,
        drop_blocks=drop_blocks,
        block_criterion=block_criterion,
        schedule=schedule,
        schedule_steps=schedule_steps,
        regulariser=regulariser,
        regulariser_steps=regulariser_steps,
        regulariser_strength=regulariser_strength,
        sparsity=sparsity,
        sparsity_pattern=sparsity_pattern,
        sparsity_criterion=sparsity_criterion,
        sparsity_steps=sparsity_steps,
    )
    chosen = name or Path(model.split(":")[-1]).name.removesuffix(".onnx").replace("_", "-")
    folder = keys or default_folder()
    signer = load_or_create_keys(folder)
    with _progress(quiet=as_json) as tell:
        result = compile(model, task, profile, out, chosen, signer, settings, tell)
    write_report(out, result)
    report = summarise(result)
    if as_json:
        print_json(report)
        return
    for note in result.notes:
        print(note)
    for made in result.profiles:
        rows = [
            (
                rung.entry.id,
                f"{rung.entry.metric_value:.3f}",
                f"{rung.test_value:.3f}",
                f"{rung.entry.latency_ms:.3g} ms ({rung.entry.latency_source})",
                f"{rung.measured_ms:.3g} ms" if math.isfinite(rung.measured_ms) else "",
                f"{rung.entry.macs / 1e6:.3g} M",
                size(rung.entry.file_bytes),
                size(len(rung.recipe_file)),
            )
            for rung in made.rungs
        ]
        print(f"\n{made.bundle}  {size(made.bundle_bytes)}")
        columns = ("rung", f"{result.metric_name} (validation)", "(test)", "latency", "timed here", "MACs", "file", "recipe")
        print_table(columns, rows, "no rung")
        for rung, reason in made.dropped.items():
            print(f"{rung} is not shipped: {reason}")
    for line in notes(report):
        print(line)
    print(f"\nsigned with the keys in {folder} (development mode: all keys on this host); report in {out / 'report.html'}")


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    if quiet:
        yield lambda stage, done, total: None
    elif not sys.stdout.isatty():
        seen: set[str] = set()

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in seen:
                seen.add(stage)
                print(f"{_STAGES.get(stage, stage)} …", flush=True)

        yield tell
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console()) as bar:
            tasks = {stage: bar.add_task(text, total=1, start=False) for stage, text in _STAGES.items()}
            order = list(_STAGES)

            def show(stage: str, done: int, total: int) -> None:
                for before in order[: order.index(stage)]:
                    bar.update(tasks[before], completed=bar.tasks[order.index(before)].total)
                bar.start_task(tasks[stage])
                bar.update(tasks[stage], completed=done, total=total)

            yield show
