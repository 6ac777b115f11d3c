"""How much to keep: latency estimates, and from budgets to keep-counts."""

from secateur.search.cost import Cost, Costs
from secateur.search.coverage import Coverage, coverage
from secateur.search.estimator import Estimator
from secateur.search.latency_table import LatencyTable, LatencyTableError
from secateur.search.measured_table import MeasuredTable
from secateur.search.path import Step, price, shrink_path
from secateur.search.planner import Plan, plan_ladder
from secateur.search.roofline import Roofline
from secateur.search.sensitivity import Losses, importance_losses, measured_losses
from secateur.search.trials import TRIALS, Trial, Trials, trials_file

__all__ = [
    "TRIALS",
    "Cost",
    "Costs",
    "Coverage",
    "Estimator",
    "LatencyTable",
    "LatencyTableError",
    "Losses",
    "MeasuredTable",
    "Plan",
    "Roofline",
    "Step",
    "Trial",
    "Trials",
    "coverage",
    "importance_losses",
    "measured_losses",
    "plan_ladder",
    "price",
    "shrink_path",
    "trials_file",
]
