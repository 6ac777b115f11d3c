"""The ladder as this device sees it: plan, corrected by measurements."""

from __future__ import annotations

import pytest

from secateur_agent.bundle.manifest import Golden, RungEntry
from secateur_agent.governor.ladder import merge
from secateur_agent.protocol.messages import RungMeasurement


def entry(
    rung: str, accuracy: float, latency_ms: float, precision: str = "int8", energy_mj: float = 0, macs: int = 1
) -> RungEntry:
    return RungEntry(
        id=rung,
        precision=precision,  # type: ignore[arg-type]
        recipe="0" * 64,
        base="1" * 64,
        file_sha256="2" * 64,
        file_bytes=1,
        keep={},
        macs=macs,
        params=1,
        metric_value=accuracy,
        latency_ms=latency_ms,
        latency_source="roofline",
        memory_mb=100.0,
        energy_mj=energy_mj or 2 * latency_ms,
        golden=Golden(seed=1, low=0.0, high=1.0, outputs=(0.0,), tolerance=0.0),
    )


def measured(rung: str, latency_ms: float, energy_mj: float | None = None, quality: str = "measured") -> RungMeasurement:
    return RungMeasurement(
        rung=rung,
        latency_p50_ms=latency_ms,
        latency_p95_ms=2 * latency_ms,
        peak_rss_mb=120.0,
        energy_mj=energy_mj,
        energy_quality=quality if energy_mj else "unavailable",  # type: ignore[arg-type]
    )


def test_without_measurements_the_plan_stands() -> None:
    (rung,) = merge([entry("r0-int8", 0.9, 4.0)], [])
    assert (rung.latency_ms, rung.peak_mb, rung.energy_mj) == (4.0, 100.0, 8.0)
    assert (rung.latency_source, rung.energy_source) == ("planned", "estimated")


def test_the_most_accurate_rung_comes_first_and_of_equals_the_faster() -> None:
    rungs = [entry("r1-int8", 0.8, 1.0), entry("r0-int8", 0.9, 4.0, macs=2), entry("r0-fp32", 0.9, 3.0, "fp32", macs=2)]
    assert [rung.id for rung in merge(rungs, [])] == ["r0-fp32", "r0-int8", "r1-int8"]


def test_a_larger_rung_that_validation_cannot_tell_from_a_smaller_one_comes_first() -> None:
    rungs = [entry("r0-int8", 0.90, 4.0, macs=40), entry("r1-int8", 0.92, 3.0, macs=30), entry("r2-int8", 0.8, 2.0, macs=20)]
    ladder = merge(rungs, [])
    assert [rung.id for rung in ladder] == ["r0-int8", "r1-int8", "r2-int8"]
    assert ladder[0].accuracy == ladder[1].accuracy == pytest.approx(0.91)
    assert ladder[2].accuracy == 0.8


def test_measured_values_replace_planned_ones() -> None:
    (rung,) = merge([entry("r0-int8", 0.9, 4.0)], [measured("r0-int8", 6.0, 30.0)])
    assert (rung.latency_ms, rung.peak_mb, rung.energy_mj) == (6.0, 120.0, 30.0)
    assert (rung.latency_source, rung.energy_source) == ("measured", "measured")


def test_unmeasured_rungs_are_scaled_by_what_the_measured_ones_of_their_precision_show() -> None:
    rungs = [entry("r0-int8", 0.9, 4.0), entry("r1-int8", 0.8, 2.0), entry("r0-fp32", 0.91, 8.0, "fp32")]
    ladder = {r.id: r for r in merge(rungs, [measured("r0-int8", 6.0), measured("r0-fp32", 4.0)])}
    assert ladder["r1-int8"].latency_ms == pytest.approx(3.0)
    assert ladder["r1-int8"].latency_source == "scaled"
    assert ladder["r1-int8"].peak_mb == pytest.approx(120.0)


def test_a_precision_without_measurements_is_scaled_by_all() -> None:
    rungs = [entry("r0-int8", 0.9, 4.0), entry("r0-fp32", 0.91, 8.0, "fp32")]
    ladder = {r.id: r for r in merge(rungs, [measured("r0-int8", 6.0)])}
    assert ladder["r0-fp32"].latency_ms == pytest.approx(12.0)


def test_energy_that_was_not_measured_is_planned_power_times_latency() -> None:
    (rung,) = merge([entry("r0-int8", 0.9, 4.0, energy_mj=20.0)], [measured("r0-int8", 8.0)])
    assert rung.energy_mj == pytest.approx(40.0)
    assert rung.energy_source == "estimated"


def test_measured_power_of_one_rung_corrects_the_others() -> None:
    rungs = [entry("r0-int8", 0.9, 4.0, energy_mj=20.0), entry("r1-int8", 0.8, 2.0, energy_mj=10.0)]
    ladder = {r.id: r for r in merge(rungs, [measured("r0-int8", 4.0, 40.0)])}
    assert ladder["r1-int8"].energy_mj == pytest.approx(20.0)


def test_an_estimated_measurement_stays_labelled_estimated() -> None:
    (rung,) = merge([entry("r0-int8", 0.9, 4.0)], [measured("r0-int8", 4.0, 40.0, "estimated")])
    assert (rung.energy_mj, rung.energy_source) == (40.0, "estimated")


def test_measurements_of_other_rungs_are_ignored() -> None:
    (rung,) = merge([entry("r0-int8", 0.9, 4.0)], [measured("r7-int8", 40.0)])
    assert rung.latency_ms == 4.0
    assert rung.latency_source == "planned"
