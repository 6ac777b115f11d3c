"""What each layer of a network costs in int8: how much nearer its outputs come when that layer alone is float.

Wu et al.: Integer Quantization for Deep Learning Inference, 2020, section 6.1 (partial quantization by sensitivity); they
make one layer int8 at a time, here one is float among int8 ones, so that errors that cancel or add up count as they will.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

import torch

from secateur.ir import ActivationParameters, Network, Samples, arrays_of
from secateur.quantization.simulation import rounding
from secateur.twin import outputs_of
from secateur.twin.distance import output_distance


def layer_sensitivities(
    exact: Network,
    written: Network,
    layers: AbstractSet[str],
    parameters: Mapping[str, ActivationParameters],
    symmetric: bool,
    inputs: Samples,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[float, dict[str, float]]:
    """Measure what int8 costs, and what each layer's part of it is.

    Args:
        exact: a rung in float.
        written: the same with the weights and private tables of its int8 file.
        layers: weights of its int8 layers.
        parameters: of its tensors.
        symmetric: whether zero is always 0.
        inputs: (samples, …).
        on_layer: told how many layers are done, of how many.

    Returns:
        The distance of the int8 outputs from the float ones, and weight → how much of it goes away if that layer is float.
        A part may be negative; parts need not add up to the whole.
    """
    expected = [torch.from_numpy(each) for each in arrays_of(outputs_of(exact, inputs))]

    def distance(network: Network, integers: AbstractSet[str]) -> float:
        hook = rounding(network, integers, parameters, symmetric)
        got = [torch.from_numpy(each) for each in arrays_of(outputs_of(network, inputs, hook))]
        return sum(float(output_distance(a, b)) for a, b in zip(got, expected) if b.is_floating_point())

    tables = {node.inputs[0]: node.attrs["table"] for node in written.nodes if node.op == "Affine"}
    nodes = [node for node in written.nodes if node.attrs.get("weight") in layers]
    whole, found = distance(written, layers), {}
    for number, node in enumerate(nodes):
        name, table = node.attrs["weight"], tables[node.output]
        mixed = written.with_values(
            weights={**written.weights, name: exact.weights[name]},
            tables={**written.tables, table: exact.tables[table]},
        )
        found[name] = whole - distance(mixed, layers - {name})
        on_layer(number + 1, len(nodes))
    return whole, found
