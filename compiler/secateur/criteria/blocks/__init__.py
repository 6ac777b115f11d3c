"""What a block is worth: one file per criterion; a file registers itself."""

from secateur.criteria.blocks.registry import BLOCK_CRITERIA, BlockEvidence, block_criterion, score_blocks
from secateur.ir.discovery import import_modules

import_modules(__name__, __path__)

__all__ = ["BLOCK_CRITERIA", "BlockEvidence", "block_criterion", "score_blocks"]
