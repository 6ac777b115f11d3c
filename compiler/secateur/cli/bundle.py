"""``secateur bundle show|materialise``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.bundle.keys import default_folder
from secateur.cli.console import print_fields, print_json, print_table, size
from secateur.cli.options import JsonOption
from secateur_agent.store.files import write_atomic
from secateur_agent.trust import load_root

if TYPE_CHECKING:
    from secateur.bundle.reader import BundleFolder

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle folder.", show_default=False)]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root", metavar="FILE", help="Trust root to verify with. Default: that of your keys.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(help="Look into a bundle.", no_args_is_help=True)
    group.command("show")(show)
    group.command("materialise")(materialise)
    app.add_typer(group, name="bundle")


def _open(bundle: Path, root: Path | None) -> BundleFolder:
    from secateur.bundle.reader import BundleFolder

    opened = BundleFolder(bundle, load_root(root or default_folder() / "root.json"))
    opened.verify()
    return opened


def show(bundle: BundleArgument, as_json: JsonOption = False, root: RootOption = None) -> None:
    """Verify a bundle and show its ladder."""
    opened = _open(bundle, root)
    manifest = opened.manifest
    if as_json:
        print_json({"manifest_sha256": opened.manifest_sha256, "manifest": manifest})
        return
    total = sum(file.size for file in manifest.files)
    largest = max(rung.file_bytes for rung in manifest.rungs)
    measure = manifest.metric.name if manifest.metric.labelled else f"{manifest.metric.name} with the original (no labels)"
    print_fields(
        [
            ("model", manifest.name),
            ("profile", manifest.profile),
            ("manifest", opened.manifest_sha256),
            ("metric", f"{measure}, on {manifest.metric.split}"),
            ("bytes", f"{size(total)} in {len(manifest.files)} files, {total / largest:.2f} of the largest rung's file"),
        ]
    )
    rows = [
        (
            rung.id,
            f"{rung.metric_value:.3f}",
            f"{rung.latency_ms:.3g} ms ({rung.latency_source})",
            f"{rung.memory_mb:.0f} MB",
            f"{rung.energy_mj:.3g} mJ",
            f"{rung.macs / 1e6:.3g} M",
            f"{rung.params / 1e3:.3g} k",
            size(rung.file_bytes),
        )
        for rung in manifest.rungs
    ]
    print_table(("rung", "metric", "latency", "memory", "energy", "MACs", "parameters", "file"), rows, "no rung")


def materialise(
    bundle: BundleArgument,
    rung: Annotated[str, typer.Argument(metavar="RUNG", help="For instance r0-int8.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to write.", show_default=False)],
    root: RootOption = None,
) -> None:
    """Write the model file of one rung, byte for byte as the device does."""
    data = _open(bundle, root).materialise(rung)
    write_atomic(output, data)
    print(f"{output}: {rung}, {size(len(data))}")
