"""How much to keep: latency estimates, and from budgets to keep-counts."""

from secateur.search.cost import Cost, Costs
from secateur.search.coverage import Coverage, coverage
from secateur.search.path import Step, price, shrink_path
from secateur.search.planner import Plan, plan_ladder
from secateur.search.roofline import Roofline

__all__ = ["Cost", "Costs", "Coverage", "Plan", "Roofline", "Step", "coverage", "plan_ladder", "price", "shrink_path"]
