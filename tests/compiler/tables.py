"""Latency tables of invented devices, whose every operator takes what a formula says."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from secateur.ir import SizedOperator
from secateur.search.latency_table import Calibration, Entry, Key, LatencyTable, Point

Formula = Callable[[SizedOperator], float]


def key(**changes: object) -> Key:
    """The key of a table for the Raspberry Pi of the tests."""
    values = {
        "profile": "raspberry-pi-4b",
        "runtime": "onnxruntime",
        "runtime_version": "1.31.1",
        "precision": "fp32",
        "threads": 4,
        "machine": "a board",
        "date": "2026-01-01T00:00:00+00:00",
    }
    return Key(**{**values, **changes})  # type: ignore[arg-type]


def table_of(operators: Iterable[SizedOperator], latency_ms: Formula, **changes: object) -> LatencyTable:
    """A table of these operators, without correction or overhead."""
    entries: dict[object, list[Point]] = {}
    for operator in operators:
        p50 = latency_ms(operator)
        point = Point(channels_in=operator.channels_in, channels_out=operator.channels_out, p50_ms=p50, p95_ms=1.2 * p50)
        entries.setdefault(operator.signature, []).append(point)
    found = tuple(Entry(signature=signature, points=tuple(points)) for signature, points in entries.items())  # type: ignore[arg-type]
    overheads = {"run_overhead_ms": 0.0, "operator_overhead_ms": 0.0, "calibration": Calibration()}
    return LatencyTable(v=1, key=key(**changes), entries=found, **overheads)  # type: ignore[arg-type]
