"""The torch twin: a network in normal form executed in torch, for proof, gradients and tuning."""

from secateur.twin.execute import Values, fixed_values, run, shapes_of
from secateur.twin.feeds import batches, feeds, random_input, split
from secateur.twin.outputs import outputs_of

__all__ = ["Values", "batches", "feeds", "fixed_values", "outputs_of", "random_input", "run", "shapes_of", "split"]
