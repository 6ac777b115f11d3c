"""How much to keep: latency estimates, and from budgets to keep-counts."""

from secateur.search.cost import Cost, Costs
from secateur.search.estimator import Estimator
from secateur.search.latency_table import LatencyTable, LatencyTableError
from secateur.search.measured_table import MeasuredTable
from secateur.search.path import Step, price, shrink_path
from secateur.search.planner import Plan, plan_ladder
from secateur.search.roofline import Roofline

__all__ = [
    "Cost",
    "Costs",
    "Estimator",
    "LatencyTable",
    "LatencyTableError",
    "MeasuredTable",
    "Plan",
    "Roofline",
    "Step",
    "plan_ladder",
    "price",
    "shrink_path",
]
