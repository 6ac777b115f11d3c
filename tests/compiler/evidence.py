"""Evidence for criteria, of the small networks and of networks of a test's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.compiler.networks import MAKERS, Shape, network_of, normal_form, samples
from torch import nn

from secateur.criteria import Evidence
from secateur.graph import find_groups
from secateur.ir import ChannelGroup, Network, Table

DATA_FREE = {"group-l2", "magnitude-l1", "magnitude-l2", "fpgm", "random", "batch-norm-scale"}
"""Criteria that also work without inputs."""


def evidence_of(name: str, count: int = 24) -> Evidence:
    """Return the evidence of one topology, with random inputs and no labels."""
    network = network_of(name)
    return Evidence(network, find_groups(network), samples(MAKERS[name][1], count))


def evidence_for(module: nn.Module, shape: Shape, count: int = 24) -> Evidence:
    """Return the evidence of a module of a test's own."""
    network = normal_form(module, shape)
    return Evidence(network, find_groups(network), samples(shape, count))


def with_network(evidence: Evidence, network: Network) -> Evidence:
    """Return the same evidence of the network with other values."""
    return replace(evidence, network=network)


def without_shifts(network: Network) -> Network:
    """Return the network without biases."""
    tables = {name: Table(table.scale, np.zeros_like(table.shift)) for name, table in network.tables.items()}
    return network.with_values(tables=tables)


def without_outgoing(network: Network, group: ChannelGroup, channel: int) -> Network:
    """Return the network in which nothing reads one channel: the weights that would multiply it are zero."""
    weights = dict(network.weights)
    for (name, axis), members in group.members.items():
        if name.startswith("weight:") and axis == 1:
            weight = weights[name.removeprefix("weight:")].copy()
            weight[:, members[channel]] = 0
            weights[name.removeprefix("weight:")] = weight
    return network.with_values(weights=weights)
