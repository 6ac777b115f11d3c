"""Repairs what was cut: recalibration of private tables, and sandwich distillation of the shared weights."""

from secateur.tuning.phase import Data, Masking, fold_scales, train_phase
from secateur.tuning.recalibration import Statistics, measure_statistics, recalibrate
from secateur.tuning.regularisers import REGULARISERS, check_regulariser
from secateur.tuning.sandwich import Between, Mixture, SandwichSettings, Subnetwork, distil, fold_statistics

__all__ = [
    "REGULARISERS",
    "Between",
    "Data",
    "Masking",
    "Mixture",
    "SandwichSettings",
    "Statistics",
    "Subnetwork",
    "check_regulariser",
    "distil",
    "fold_scales",
    "fold_statistics",
    "measure_statistics",
    "recalibrate",
    "train_phase",
]
