"""Repairs what was cut: recalibration of private tables, and sandwich distillation of the shared weights."""

from secateur.tuning.block_repair import repair
from secateur.tuning.phase import Data, Masking, fold_scales, train_phase
from secateur.tuning.recalibration import Statistics, measure_statistics, recalibrate, recalibrated_outputs
from secateur.tuning.reconstruction import Reconstruction, reconstruct
from secateur.tuning.regularisers import REGULARISERS, check_regulariser
from secateur.tuning.sandwich import Rounding, SandwichSettings, distil, fold_statistics, hold_zeros, statistics_of
from secateur.tuning.students import Between, Mixture
from secateur.tuning.subnetwork import Subnetwork

__all__ = [
    "REGULARISERS",
    "Between",
    "Data",
    "Masking",
    "Mixture",
    "Reconstruction",
    "Rounding",
    "SandwichSettings",
    "Statistics",
    "Subnetwork",
    "check_regulariser",
    "distil",
    "fold_scales",
    "fold_statistics",
    "hold_zeros",
    "measure_statistics",
    "recalibrate",
    "recalibrated_outputs",
    "reconstruct",
    "repair",
    "statistics_of",
    "train_phase",
]
