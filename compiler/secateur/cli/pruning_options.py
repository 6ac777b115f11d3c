"""Options of ``secateur compile``: when channels are ranked, under which penalty they train, which weights become zero."""

from __future__ import annotations

from typing import Annotated

import typer

ScheduleOption = Annotated[
    str,
    typer.Option(
        "--schedule",
        metavar="NAME",
        help="When channels are ranked: one-shot, iterative (in rounds), gradual or dynamic (both while training).",
        rich_help_panel="Pruning",
    ),
]
ScheduleStepsOption = Annotated[
    int, typer.Option(help="Steps of training of a gradual or dynamic schedule.", min=1, rich_help_panel="Pruning")
]
RegulariserOption = Annotated[
    str,
    typer.Option(
        "--regulariser",
        metavar="NAME",
        help="Penalty of a training phase before channels are ranked: none, l1-scale, group-lasso or l2.",
        rich_help_panel="Pruning",
    ),
]
RegulariserStepsOption = Annotated[int, typer.Option(help="Steps of that phase.", min=1, rich_help_panel="Pruning")]
RegulariserStrengthOption = Annotated[
    float | None,
    typer.Option(
        "--regulariser-strength",
        help="Of the penalty. Default: the penalty's own.",
        show_default=False,
        rich_help_panel="Pruning",
    ),
]
SparsityOption = Annotated[
    float,
    typer.Option(
        "--sparsity",
        help="Share of zeros in the base, e.g. 0.5; with --sparsity-pattern value the threshold. Zeros give neither speed "
        "nor size, only a base that compresses better.",
        rich_help_panel="Pruning",
    ),
]
SparsityPatternOption = Annotated[
    str,
    typer.Option(
        "--sparsity-pattern",
        metavar="NAME",
        help="Which weights become zero: ratio, layer-ratio, value, soft, 2:4 or 4:8 (N:M needs no --sparsity).",
        rich_help_panel="Pruning",
    ),
]
SparsityCriterionOption = Annotated[
    str,
    typer.Option(
        "--sparsity-criterion", metavar="NAME", help="What ranks weights: magnitude or taylor.", rich_help_panel="Pruning"
    ),
]
SparsityStepsOption = Annotated[
    int,
    typer.Option(
        help="Steps of distillation after weights became zero; 0 only recalibrates.", min=0, rich_help_panel="Pruning"
    ),
]
