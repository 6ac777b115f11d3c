"""What can be cut: which channels operators tie together, and where a barrier keeps channels from being cut."""

from secateur.graph.groups import find_groups
from secateur.graph.proof import ProofError, prove, prove_sorted

__all__ = ["ProofError", "find_groups", "prove", "prove_sorted"]
