"""Runs rungs in the real runtime, and decides which may be shipped."""

from secateur.evaluation.gate import GateResult, check_rung, golden_check
from secateur.evaluation.runtime import Session, snr_db

__all__ = ["GateResult", "Session", "check_rung", "golden_check", "snr_db"]
