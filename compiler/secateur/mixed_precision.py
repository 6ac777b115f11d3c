"""Which layers stay float in an int8 bundle: those that cost more accuracy than time, if int8 costs too much of it.

They are chosen once for a profile, on the full network: all rungs share the base, and in the base a layer is either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from secateur.ir import PRECISIONS, Network, Samples, sample_count, take
from secateur.master import Master
from secateur.quantizing import QuantizedRung, file_distance, judged_on, quantize_rung
from secateur.search import Costs, Roofline
from secateur.twin import outputs_of
from secateur.writing import rung_file
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
        after: with some layers in float.
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


class Mixed(NamedTuple):
    """A master, how its layers in float were chosen (None if all may be int8), and its full network, ready to be written."""

    master: Master
    found: MixedPrecision | None
    largest: QuantizedRung


def mix_precisions(
    master: Master,
    profile: Profile,
    precision: str,
    judged: Samples,
    exact: float,
    metric: Callable[[bytes], float],
    allowed: float,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> Mixed:
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
    keep, runtime = master.groups.full(), profile.runtime.name
    network, index = master.rung_network(keep), master.index(keep)
    made = quantize_rung(master, network, index, precision, judged, runtime)
    if not PRECISIONS[precision].activations:
        return Mixed(master, None, made)
    affines = network.affines()
    behind = {n.attrs["weight"]: affines[n.output].attrs["table"] for n in network.nodes if "weight" in n.attrs}

    def file(names: frozenset[str]) -> bytes:
        # Ranges stay as they are, and layers in float have nothing to make up for: quantizing anew is for what is chosen.
        exactly = {behind[name]: network.tables[behind[name]] for name in names}
        rung = made.network.with_values(tables={**made.network.tables, **exactly})
        return rung_file(replace(master, floating=names), rung, index, precision, made.ranges, runtime)

    before = metric(file(frozenset()))
    if before >= exact - allowed:
        return Mixed(master, None, made)
    accuracy, time = _accuracy_shares(network, file, list(master.quantized), judged, on_layer), _time_shares(master, profile)
    best, after = _choose(accuracy, time, lambda names: metric(file(names)), before, exact - allowed)
    layers = tuple(
        LayerCost(node.source or node.attrs["weight"], accuracy[name], time[name], name in best)
        for node in network.nodes
        if (name := node.attrs.get("weight")) in accuracy
    )
    found = MixedPrecision(precision, exact, before, after, layers)
    if not best:
        return Mixed(master, found, made)
    mixed = replace(master, floating=best)
    return Mixed(mixed, found, quantize_rung(mixed, network, index, precision, judged, runtime))


def _accuracy_shares(
    network: Network,
    file: Callable[[frozenset[str]], bytes],
    layers: list[str],
    judged: Samples,
    on_layer: Callable[[int, int], None],
) -> dict[str, float]:
    """Of the distance of int8 outputs from float ones, what goes away if one layer alone is float.

    Wu et al.: Integer Quantization for Deep Learning Inference, 2020, section 6.1 (partial quantization by sensitivity);
    they make one layer int8 at a time, here one is float among int8 ones, so that errors that cancel or add up count as
    they will.
    """
    compared = judged_on(network, judged)
    few = take(compared, slice(0, (sample_count(compared) + 1) // 2))  # every layer takes a run
    expected = outputs_of(network, few)
    whole, found = file_distance(file(frozenset()), few, expected), {}
    for number, name in enumerate(layers):
        found[name] = (whole - file_distance(file(frozenset({name})), few, expected)) / max(whole, 1e-12)
        on_layer(number + 1, len(layers))
    return found


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
