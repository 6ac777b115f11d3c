"""Which layers stay float in an int8 bundle: those that cost more accuracy than time, if int8 costs too much of it.

They are chosen once for a profile, on the full network: all rungs share the base, and in the base a layer is either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from secateur.ir import PRECISIONS, Samples
from secateur.master import Master
from secateur.quantization import layer_sensitivities, parameters
from secateur.quantizing import QuantizedRung, as_written, judged_on, quantize_rung
from secateur.search import Costs, Roofline
from secateur.writing import program_of
from secateur_profiles import Profile

MOST_TIME = 0.5
"""Of the float network's planned time: where more would have to be float, float is the better precision."""


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs in int8.

    Attributes:
        source: its name in the user's network.
        accuracy_share: of the distance that int8 puts between outputs, what goes away if this layer is float.
        time_share: its part of the planned time of the float network.
        floating: whether it stays float.
    """

    source: str
    accuracy_share: float
    time_share: float
    floating: bool


@dataclass(frozen=True)
class MixedPrecision:
    """What keeping layers in float did for the full network, by the metric on validation.

    Attributes:
        precision: of the other layers.
        exact: metric in float.
        before: with every layer in int8.
        after: as shipped.
        layers: in the network's order.
    """

    precision: str
    exact: float
    before: float
    after: float
    layers: tuple[LayerCost, ...]

    def told(self, profile: str) -> str:
        """Return a line for the user."""
        kept = [layer.source for layer in self.layers if layer.floating]
        what = f"{len(kept)} of {len(self.layers)} layers stay float ({', '.join(kept)})" if kept else "no layer stays float"
        return (
            f"{profile}: {self.precision} costs the largest rung {100 * (self.exact - self.before):.1f} points on validation"
            f"; {what}, and it costs {100 * (self.exact - self.after):.1f}"
        )


def mix_precisions(
    master: Master,
    profile: Profile,
    precision: str,
    judged: Samples,
    exact: float,
    metric: Callable[[bytes], float],
    allowed: float,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Master, MixedPrecision | None]:
    """Keep layers in float if the full network would lose too much without.

    Args:
        master: what rungs are cut from.
        profile: its rates tell what a layer takes.
        precision: of the bundle.
        judged: validation inputs, on which layers are compared.
        exact: metric of the full network in float.
        metric: of a file, on validation.
        allowed: what int8 may cost, in units of the metric.
        on_layer: told how many layers were looked at, of how many.

    Returns:
        The master whose base has these layers in float, and what was found; the same master and None if int8 is good enough.
    """
    kind = PRECISIONS[precision]
    if not kind.activations:
        return master, None
    keep = master.groups.full()
    network, index = master.rung_network(keep), master.index(keep)

    def value(mixed: Master) -> tuple[float, QuantizedRung]:
        made = quantize_rung(mixed, network, index, precision, judged, profile.runtime.name)
        program = program_of(mixed, made.network, index, precision, made.ranges, profile.runtime.name)
        return metric(program.recipe(mixed.base(precision))[1]), made

    before, made = value(master)
    if before >= exact - allowed:
        return master, None
    assert made.ranges is not None
    activations = parameters(made.network, made.ranges, kind.symmetric)
    written = as_written(master, made.network, index, activations)
    whole, parts = layer_sensitivities(
        network, written, set(master.quantized), activations, kind.symmetric, judged_on(network, judged), on_layer
    )
    accuracy = {name: part / max(whole, 1e-12) for name, part in parts.items()}
    time = _time_shares(master, profile)
    best, after = _choose(accuracy, time, lambda names: value(replace(master, floating=names))[0], before, exact - allowed)
    layers = tuple(
        LayerCost(node.source or node.attrs["weight"], accuracy[name], time[name], name in best)
        for node in network.nodes
        if (name := node.attrs.get("weight")) in accuracy
    )
    return replace(master, floating=best), MixedPrecision(precision, exact, before, after, layers)


def _time_shares(master: Master, profile: Profile) -> dict[str, float]:
    model, costs = Roofline(profile, "fp32"), Costs(master.network, master.groups)
    keep = master.groups.full()
    whole = model.latency_ms(costs, keep)
    return {name: model.operator_ms(cost) / whole for name, cost in costs.layers(keep).items()}


def _choose(
    accuracy: dict[str, float],
    time: dict[str, float],
    value: Callable[[frozenset[str]], float],
    before: float,
    goal: float,
) -> tuple[frozenset[str], float]:
    """The fewest layers, most accuracy for their time first, that reach the goal; else those that come nearest."""
    ranked = sorted((n for n in accuracy if accuracy[n] > time[n]), key=lambda n: -accuracy[n] / time[n])
    taken = 0.0
    affordable = []
    for name in ranked:
        taken += time[name]
        if taken <= MOST_TIME:
            affordable.append(name)
    tried: dict[int, float] = {0: before}

    def reaches(count: int) -> bool:
        if count not in tried:
            tried[count] = value(frozenset(affordable[:count]))
        return tried[count] >= goal

    count = 1
    while count < len(affordable) and not reaches(count):
        count *= 2
    low, high = count // 2, min(count, len(affordable))
    if reaches(high):
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if reaches(middle) else (middle, high)
        return frozenset(affordable[:high]), tried[high]
    chosen = max(tried, key=lambda number: (tried[number], -number))
    return frozenset(affordable[:chosen]), tried[chosen]
