"""A network that computes what another does, with channels of very different ranges: hard for eight bits."""

from __future__ import annotations

from tests.compiler import digits

from secateur.graph import find_groups
from secateur.ir import Network, Table
from secateur.master import Master, untuned_master

FACTOR = 200.0


def unbalanced(network: Network, table: str = "t1", weight: str = "w2", channel: int = 3) -> Network:
    """Multiply a channel behind a table, and divide what reads it.

    Args:
        network: in which nothing but a Relu stands between the two.
        table: of the channel.
        weight: that reads it.
        channel: its number.
    """
    scale, shift, reader = (
        network.tables[table].scale.copy(),
        network.tables[table].shift.copy(),
        network.weights[weight].copy(),
    )
    scale[channel] *= FACTOR
    shift[channel] *= FACTOR
    reader[:, channel] /= FACTOR
    return network.with_values(
        weights={**network.weights, weight: reader}, tables={**network.tables, table: Table(scale, shift)}
    )


def unbalanced_master() -> Master:
    """Return the master of the digits network, unbalanced; it is not tuned."""
    network = unbalanced(digits.network())
    return untuned_master(network, find_groups(network), {}, digits.task())
