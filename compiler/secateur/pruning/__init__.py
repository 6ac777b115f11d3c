"""Does it: sorts channel groups by importance and cuts networks out of the sorted one."""

from secateur.pruning.cut import cut
from secateur.pruning.sort import sort_groups

__all__ = ["cut", "sort_groups"]
