"""Runs rungs in the real runtime, and decides which may be shipped."""

from secateur.evaluation.fresh_process import measure_rung
from secateur.evaluation.gate import GateResult, check_rung, golden_check
from secateur.evaluation.machine import describe_machine, runtime_version
from secateur.evaluation.runtime import Session, require_runtime, snr_db
from secateur.evaluation.timing import Timing, time_interleaved

__all__ = [
    "GateResult",
    "Session",
    "Timing",
    "check_rung",
    "describe_machine",
    "golden_check",
    "measure_rung",
    "require_runtime",
    "runtime_version",
    "snr_db",
    "time_interleaved",
]
