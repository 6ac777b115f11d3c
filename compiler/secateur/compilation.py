"""What `secateur.pipeline` takes and gives: settings and results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from secateur.assembly import BuiltRung
from secateur.gains import Gains
from secateur.ir import Budget, Groups
from secateur.ir.groups import KeepKey
from secateur.mixed_precision import MixedPrecision
from secateur.precision_choice import Candidate
from secateur.protection import ALLOWED
from secateur.quantized_tuning import QuantizedTuning
from secateur.search import Coverage
from secateur.sparsifying import SparsityReport
from secateur_agent.bundle.manifest import RungEntry

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class CompileSettings:
    """How to compile.

    Attributes:
        budget: binds every emitted rung but the original.
        rungs: of each ladder, with the original.
        criterion: what ranks channels.
        steps: of tuning; 0 reconstructs and recalibrates only.
        balance: of the rungs' losses in tuning: 0 sums them as they are, so that the smallest count most, 1 evenly.
        largest_may_lose: points of the metric, on validation; tuning is taken back as far as that needs.
        precisions: in order of preference; empty takes for this machine the fastest that is accurate enough, for others each
            profile's first that can be built.
        int8_may_lose: points of the metric that the largest rung may lose on validation before layers stay float.
        qat_steps: of tuning that sees what int8 rounds, after all other; 0 quantizes without.
        latency_tables: to plan from instead of the roofline, each for one of the profiles.
        find_tables: whether to look for tables in the user's data folder, too.
        verify_latency: whether to measure the rungs here: those that miss a budget are replaced, those that are no faster
            than a larger one dropped; None does it for the profile of this machine alone.
        search_seconds: how long whole networks are tried to refine the planned rungs; 0 takes them as planned.
        drop_blocks: rungs may do without residual branches, besides having fewer channels.
        block_criterion: what ranks blocks.
        schedule: when channels are ranked: at once, in rounds, or while training.
        schedule_steps: of training, for a schedule that trains.
        regulariser: penalty of a training phase before channels are ranked; ``none`` leaves it out.
        regulariser_steps: of that phase.
        regulariser_strength: of the penalty; the regulariser's own if None.
        sparsity: zeros among the weights of the base, 0 to 1, or the threshold of the pattern ``value``; 0 is none.
        sparsity_pattern: which weights become zero; ``N:M`` needs no ``sparsity``.
        sparsity_criterion: what ranks weights.
        sparsity_steps: of distillation after pruning weights, zeros held; 0 only recalibrates.
    """

    budget: Budget = Budget()  # noqa: RUF009 - frozen
    rungs: int = 5
    criterion: str = "magnitude-l2"
    steps: int = 300
    balance: float = 0.0
    largest_may_lose: float = 100 * ALLOWED
    precisions: tuple[str, ...] = ()
    int8_may_lose: float = 0.3
    qat_steps: int = 0
    seed: int = 0
    latency_tables: tuple[Path, ...] = ()
    find_tables: bool = False
    verify_latency: bool | None = None
    search_seconds: float = 0.0
    drop_blocks: bool = False
    block_criterion: str = "block-influence"
    schedule: str = "one-shot"
    schedule_steps: int = 300
    regulariser: str = "none"
    regulariser_steps: int = 200
    regulariser_strength: float | None = None
    sparsity: float = 0.0
    sparsity_pattern: str = "ratio"
    sparsity_criterion: str = "magnitude"
    sparsity_steps: int = 100


@dataclass
class ProfileResult:
    """One bundle: where it is, its rungs, what was not shipped and why, which layers stay float, which precisions it might
    have had."""

    profile: str
    bundle: Path
    rungs: list[BuiltRung]
    dropped: dict[str, str]
    bundle_bytes: int
    mixed: MixedPrecision | None = None
    candidates: list[Candidate] = field(default_factory=list)


@dataclass(frozen=True)
class Tried:
    """One network that the search tried.

    Attributes:
        share: planned latency as a share of the full network's, the mean of all profiles.
        distance: of its recalibrated outputs from the full network's.
        on_front: whether no other that was tried is both faster and nearer.
        rung: whether it became a rung.
    """

    share: float
    distance: float
    on_front: bool
    rung: bool


@dataclass
class CompileResult:
    """What `compile` made, and what it found on the way.

    Attributes:
        tuned_share: how far tuning was taken: less than 1 where all of it would have made the largest rung worse.
        tried: the networks that the search tried.
        gains: key of a rung's keep-counts → what each step of repair gave it.
        coverage: how much of the network can be cut.
        quantized: what tuning in int8 did.
        notes: what stages say about their work, such as a criterion about its scores.
    """

    name: str
    profiles: list[ProfileResult]
    original_value: dict[str, float]
    metric_name: str
    labelled: bool
    groups: Groups
    proof_error: float
    tuning_steps: int
    tuned_share: float
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    schedule: str = "one-shot"
    regulariser: str = "none"
    sparsity: SparsityReport | None = None
    tried: list[Tried] = field(default_factory=list)
    gains: dict[KeepKey, Gains] = field(default_factory=dict)
    coverage: Coverage | None = None
    quantized: QuantizedTuning | None = None


@dataclass(frozen=True)
class RecutRung:
    """A rung that was cut later: its manifest entry, recipe file, signed envelope, and how long it took."""

    entry: RungEntry
    recipe: bytes
    envelope: bytes
    seconds: float
