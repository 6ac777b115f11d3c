"""Repairs what was cut: recalibration of private tables, and sandwich distillation of the shared weights."""

from secateur.tuning.recalibration import Statistics, measure_statistics, recalibrate
from secateur.tuning.reconstruction import repair
from secateur.tuning.sandwich import Between, Mixture, SandwichSettings, Subnetwork, distil, fold_statistics

__all__ = [
    "Between",
    "Mixture",
    "SandwichSettings",
    "Statistics",
    "Subnetwork",
    "distil",
    "fold_statistics",
    "measure_statistics",
    "recalibrate",
    "repair",
]
