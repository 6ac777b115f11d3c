"""The network in normal form, and the words of Secateur as types; any stage may import it.

Normal form: every convolution and every fully connected layer is a *shared weight* followed by an ``Affine`` node, whose
*private table* holds a scale and a shift per channel. Batch normalisation and biases become such tables.
"""

from secateur.ir.blocks import Block
from secateur.ir.budget import Budget, BudgetError, parse_budget
from secateur.ir.errors import InfeasibleError, SecateurError, UnsupportedModelError
from secateur.ir.groups import ChannelGroup, Groups
from secateur.ir.network import Network, Node, Table
from secateur.ir.precision import PRECISIONS, Precision
from secateur.ir.quantized import ActivationParameters, QuantizedWeight
from secateur.ir.samples import Samples, arrays_of, joined, sample_count, samples_of, single, take
from secateur.ir.signature import Signature, SizedOperator

__all__ = [
    "PRECISIONS",
    "ActivationParameters",
    "Block",
    "Budget",
    "BudgetError",
    "ChannelGroup",
    "Groups",
    "InfeasibleError",
    "Network",
    "Node",
    "Precision",
    "QuantizedWeight",
    "Samples",
    "SecateurError",
    "Signature",
    "SizedOperator",
    "Table",
    "UnsupportedModelError",
    "arrays_of",
    "joined",
    "parse_budget",
    "sample_count",
    "samples_of",
    "single",
    "take",
]
