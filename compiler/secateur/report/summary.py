"""The report as data."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from secateur.ir.groups import keep_key


class RepairReport(msgspec.Struct, frozen=True, kw_only=True):
    """The metric of a rung on validation, in float, after each step of repair: the cut alone, recalibrated, reconstructed in
    closed form, and as tuned; without tuning the last two are the same."""

    cut: float
    recalibrated: float
    reconstructed: float
    tuned: float


class RungReport(msgspec.Struct, frozen=True, kw_only=True):
    """One rung. ``metric_value`` is on validation, ``test_value`` on the test split, which is read once.

    ``latency_ms`` is planned; ``measured_ms`` is what the file took on the machine that compiled it, if it was timed.
    """

    id: str
    keep: dict[str, int]
    macs: int
    params: int
    file_bytes: int
    recipe_bytes: int
    sha256: str
    precision: str
    metric: str
    metric_value: float
    test_value: float
    latency_ms: float
    latency_source: str
    measured_ms: float | None
    memory_mb: float
    energy_mj: float
    snr_db: float | None
    ordinary_snr_db: float | None
    repair: RepairReport | None = None
    calibrators: dict[str, float] = {}
    """What chose the ranges of its tensors, and what else was tried → distance of the file's outputs from those in float."""
    without_qat: float | None = None
    """Metric of the int8 file on validation without tuning in int8, where that was asked for."""


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one layer of the full network costs in int8: shares of the distance that int8 puts between outputs, which may be
    negative, and of the planned time in float; and whether it stays float."""

    source: str
    accuracy_share: float
    time_share: float
    floating: bool


class MixedReport(msgspec.Struct, frozen=True, kw_only=True):
    """Layers that stay float: the full network's metric on validation in float, with all layers int8, and as shipped."""

    precision: str
    exact: float
    before: float
    after: float
    layers: tuple[LayerReport, ...]


class CandidateReport(msgspec.Struct, frozen=True, kw_only=True):
    """The full network's file in one precision, timed on the machine that compiled it; ``metric`` on validation."""

    precision: str
    latency_ms: float
    metric: float
    file_bytes: int
    accurate: bool
    chosen: bool


class QatReport(msgspec.Struct, frozen=True, kw_only=True):
    """Tuning in int8: how long, and whether it is shipped, since the files are better for it on average."""

    precision: str
    steps: int
    mean_before: float
    mean_after: float
    kept: bool


class ProfileReport(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle."""

    profile: str
    bundle: str
    bundle_bytes: int
    bundle_ratio: float
    rungs: tuple[RungReport, ...]
    dropped: dict[str, str]
    original_change: float | None = None
    """Metric of r0 as shipped less that of the user's network, both on validation; None if r0 is not shipped."""
    mixed: MixedReport | None = None
    candidates: tuple[CandidateReport, ...] = ()


class SparsityEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Zeros in the base; sizes in bytes, ``compressed`` ones under xz. ``pattern_kept``: profile/rung → N:M holds there."""

    pattern: str
    criterion: str
    zero_share: float
    layers: dict[str, float]
    base_bytes: dict[str, int]
    compressed_before: dict[str, int]
    compressed_after: dict[str, int]
    pattern_kept: dict[str, bool]
    note: str


class GroupReport(msgspec.Struct, frozen=True, kw_only=True):
    """One channel group."""

    id: str
    source: str
    size: int


class BlockReport(msgspec.Struct, frozen=True, kw_only=True):
    """One block: a residual branch, named by its first layer."""

    id: str
    source: str


class CoverageReport(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the network can be cut: multiply-accumulates in all, and in layers of which some channels can go."""

    macs: int
    cuttable_macs: int
    frozen: dict[str, str]
    """The other layers → why."""


class TriedReport(msgspec.Struct, frozen=True, kw_only=True):
    """One network that the search tried.

    ``share`` is its planned latency as a share of the full network's, the mean of all profiles; ``distance`` that of its
    recalibrated outputs from the full network's, before tuning.
    """

    share: float
    distance: float
    on_front: bool
    rung: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole compilation."""

    v: int = 1
    name: str
    metric: str
    labelled: bool
    original_validation: float
    original_test: float
    profiles: tuple[ProfileReport, ...]
    groups: tuple[GroupReport, ...]
    barriers: dict[str, str]
    blocks: tuple[BlockReport, ...]
    block_barriers: dict[str, str]
    proof_error: float
    tuning_steps: int
    tuned_share: float
    seconds: dict[str, float]
    notes: tuple[str, ...] = ()
    schedule: str = "one-shot"
    regulariser: str = "none"
    sparsity: SparsityEntry | None = None
    tried: tuple[TriedReport, ...] = ()
    coverage: CoverageReport | None = None
    qat: QatReport | None = None


def _finite(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None


def summarise(result: Any) -> Report:
    """Return the report of what `secateur.pipeline.compile` returned (a ``CompileResult``)."""
    profiles = []
    for made in result.profiles:
        rungs = tuple(
            RungReport(
                id=rung.entry.id,
                keep={**result.groups.full(), **rung.entry.keep},
                macs=rung.entry.macs,
                params=rung.entry.params,
                file_bytes=rung.entry.file_bytes,
                recipe_bytes=len(rung.recipe_file),
                sha256=rung.entry.file_sha256,
                precision=rung.entry.precision,
                metric=result.metric_name,
                metric_value=rung.entry.metric_value,
                test_value=round(rung.test_value, 6),
                latency_ms=rung.entry.latency_ms,
                latency_source=rung.entry.latency_source,
                measured_ms=float(f"{rung.measured_ms:.5g}") if math.isfinite(rung.measured_ms) else None,
                memory_mb=rung.entry.memory_mb,
                energy_mj=rung.entry.energy_mj,
                snr_db=_finite(rung.gate.snr_db),
                ordinary_snr_db=_finite(rung.gate.ordinary_snr_db),
                repair=_repair(result.gains.get(keep_key(rung.entry.keep))),
                calibrators={
                    name: float(f"{value:.4g}") for name, value in rung.calibrators.items() if math.isfinite(value)
                },
                without_qat=_without_qat(result.quantized, rung.entry),
            )
            for rung in made.rungs
        )
        profiles.append(
            ProfileReport(
                profile=made.profile,
                bundle=made.bundle.name,
                bundle_bytes=made.bundle_bytes,
                bundle_ratio=round(made.bundle_bytes / max(rung.file_bytes for rung in rungs), 4),
                rungs=rungs,
                dropped=made.dropped,
                original_change=_original_change(made.rungs, result.original_value["validation"]),
                mixed=None if made.mixed is None else _mixed(made.mixed),
                candidates=tuple(CandidateReport(**vars(each)) for each in made.candidates),
            )
        )
    return Report(
        name=result.name,
        metric=result.metric_name,
        labelled=result.labelled,
        original_validation=round(result.original_value["validation"], 6),
        original_test=round(result.original_value["test"], 6),
        profiles=tuple(profiles),
        groups=tuple(GroupReport(id=g.id, source=g.source, size=g.size) for g in result.groups.groups),
        barriers=result.groups.barriers,
        notes=tuple(result.notes),
        blocks=tuple(BlockReport(id=b.id, source=b.source) for b in result.groups.blocks),
        block_barriers=result.groups.block_barriers,
        proof_error=result.proof_error,
        tuning_steps=result.tuning_steps,
        tuned_share=result.tuned_share,
        seconds=result.seconds,
        schedule=result.schedule,
        regulariser=result.regulariser,
        tried=tuple(
            TriedReport(
                share=round(each.share, 5), distance=float(f"{each.distance:.5g}"), on_front=each.on_front, rung=each.rung
            )
            for each in result.tried
        ),
        coverage=None if result.coverage is None else _coverage(result.coverage),
        sparsity=None if result.sparsity is None else SparsityEntry(**vars(result.sparsity)),
        qat=None if result.quantized is None else _qat(result.quantized),
    )


def _mixed(found: Any) -> MixedReport:
    layers = tuple(
        LayerReport(
            source=layer.source,
            accuracy_share=round(layer.accuracy_share, 5),
            time_share=round(layer.time_share, 5),
            floating=layer.floating,
        )
        for layer in found.layers
    )
    values = {name: round(getattr(found, name), 6) for name in ("exact", "before", "after")}
    return MixedReport(precision=found.precision, layers=layers, **values)


def _qat(found: Any) -> QatReport:
    return QatReport(
        precision=found.precision,
        steps=found.steps,
        mean_before=round(found.mean_before, 6),
        mean_after=round(found.mean_after, 6),
        kept=found.kept,
    )


def _without_qat(found: Any, entry: Any) -> float | None:
    """Known of the rungs that were planned, in the precision that tuning saw."""
    if found is None or found.precision != entry.precision:
        return None
    value: float | None = found.before.get(keep_key(entry.keep))
    return value


def _repair(gains: Any) -> RepairReport | None:
    return None if gains is None else RepairReport(**vars(gains))


def _coverage(found: Any) -> CoverageReport:
    return CoverageReport(macs=found.macs, cuttable_macs=found.cuttable_macs, frozen=dict(found.frozen))


def _original_change(rungs: Any, original: float) -> float | None:
    first = next((rung for rung in rungs if rung.entry.id.startswith("r0-")), None)
    return None if first is None else round(first.entry.metric_value - original, 6)


def notes(report: Report) -> list[str]:
    """Return what a person must know of how the shared base was changed, one line each."""
    lines = []
    for profile in report.profiles:
        if profile.original_change is not None:
            points = 100 * profile.original_change
            lines.append(
                f"{profile.profile}: r0 shares the tuned base; {report.metric} on validation moved by {points:+.1f} points"
            )
    found = report.sparsity
    if found is not None:
        lines.append(f"{found.zero_share:.1%} of the shared weights are zero ({found.pattern}, by {found.criterion})")
        lines += [
            f"base-{p}: {size} bytes as before; xz makes it {found.compressed_after[p]}, before {found.compressed_before[p]}"
            for p, size in found.base_bytes.items()
        ]
        broken = [rung for rung, kept in found.pattern_kept.items() if not kept]
        if found.pattern_kept:
            lines.append(
                f"every rung keeps the {found.pattern} pattern"
                if not broken
                else f"{', '.join(broken)}: the {found.pattern} pattern does not hold in every layer of the cut network"
            )
        lines.append(found.note)
    return lines
