"""Options of ``secateur compile``: in which precision files are, and what that may cost."""

from __future__ import annotations

from typing import Annotated

import typer

PrecisionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="fp32, fp16, int8, int8-symmetric (zero is always 0, for TensorRT) or int8-weight-only; may be repeated, the "
        "first that a profile takes counts. Default: on linux-x86-64 the fastest that is accurate enough, timed here; else "
        "the profile's first.",
        show_default=False,
        rich_help_panel="Quantization",
    ),
]
Int8MayLoseOption = Annotated[
    float,
    typer.Option(
        "--int8-may-lose",
        metavar="POINTS",
        help="What the largest rung may lose by quantization, on validation. If it loses more, layers that cost more "
        "accuracy than time stay float.",
        min=0,
        max=100,
        rich_help_panel="Quantization",
    ),
]
QatStepsOption = Annotated[
    int,
    typer.Option(
        help="Steps of tuning that sees what int8 rounds, after all other tuning; kept if the files are better for it.",
        min=0,
        rich_help_panel="Quantization",
    ),
]
