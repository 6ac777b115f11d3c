"""When channels are ranked: at once, in rounds, or while the network trains. One file per schedule; it registers itself.

A schedule joins the stages criteria, pruning and tuning, which do not know each other. What comes out is a ranking of the
channels of every group, and perhaps trained weights; both enter the usual sorting, path and sandwich.
"""

from secateur.ir.discovery import import_modules
from secateur.scheduling.registry import SCHEDULES, Material, Outcome, schedule

import_modules(__name__, __path__)

from secateur.scheduling.prepare import TRAINING, check_preparation, prepare  # noqa: E402 - it needs the registry filled

__all__ = ["SCHEDULES", "TRAINING", "Material", "Outcome", "check_preparation", "prepare", "schedule"]
