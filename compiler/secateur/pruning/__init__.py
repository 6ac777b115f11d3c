"""Does it: sorts channel groups by importance and cuts networks out of the sorted one."""

from secateur.pruning.cut import cut
from secateur.pruning.ranking import Ranking, keep_counts
from secateur.pruning.remaining import remaining, shrink_groups
from secateur.pruning.sort import sort_groups

__all__ = ["Ranking", "cut", "keep_counts", "remaining", "shrink_groups", "sort_groups"]
