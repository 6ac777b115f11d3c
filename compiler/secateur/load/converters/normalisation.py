"""Normalisation by statistics of the sample itself."""

from __future__ import annotations

from secateur.load.builder import Converting
from secateur.load.converters.registry import converter


@converter("InstanceNormalization")
def _instance_norm(node: Converting) -> None:
    """Ulyanov, Vedaldi, Lempitsky: Instance Normalization, 2016."""
    scale, shift = node.constant(1), node.constant(2)
    if scale is None or shift is None:
        raise node.fail("its parameters must be constant")
    if len(node.shape()) < 3:
        raise node.fail("it needs positions to normalise over")
    normal = node.emit(
        "InstanceNormalization", None, node.output + ":normal", epsilon=float(node.attrs.get("epsilon", 1e-5))
    )
    node.emit("Affine", [normal], table=node.table(scale, shift), axis=1)
