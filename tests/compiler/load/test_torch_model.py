"""PyTorch modules come in through torch's own exporter."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.compiler.networks import MAKERS, module_of, samples
from torch import Tensor, nn

from secateur.ir import SecateurError, UnsupportedModelError
from secateur.load import export_module, load_model
from secateur.twin import fixed_values, run


@pytest.mark.parametrize("name", ["smartwatch", "resnet-a", "mobilenet", "vgg"])
def test_an_exported_module_computes_the_same(name: str) -> None:
    shape = MAKERS[name][1]
    network = export_module(module_of(name), shape)
    x = torch.from_numpy(samples(shape, 5))
    with torch.no_grad():
        got = next(iter(run(network, {"input": x}, fixed_values(network)).values()))
        expected = module_of(name)(x)
    assert float((got - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
    assert network.inputs == {"input": (-1, *shape)}
    assert all(source and "::" not in source for source in (node.source for node in network.nodes if "weight" in node.attrs))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def test_flow_that_depends_on_data_is_refused_in_one_line() -> None:
    with pytest.raises(UnsupportedModelError, match="torch cannot export it") as caught:
        export_module(Branching(), (4,))
    assert "\n" not in str(caught.value)


def test_a_module_with_two_inputs_is_refused_in_one_line() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        export_module(TwoInputs(), (4,))
    assert "\n" not in str(caught.value)


def test_a_nan_weight_is_named() -> None:
    module = nn.Linear(4, 2)
    with torch.no_grad():
        module.weight[0, 0] = np.nan
    with pytest.raises(UnsupportedModelError, match="weight weight has NaN"):
        export_module(module, (4,))


def test_a_factory_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_factories.py").write_text("answer = 42\ndef number():\n    return 42\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for spec, reason in {
        "my_factories:number": "returned int, not a torch.nn.Module",
        "my_factories:answer": "is not a function",
        "my_factories:missing": "has no 'missing'",
        "no_such_module:f": "No module named",
        ".relative:f": "write MODULE:NAME",
        "my_factories": "write MODULE:NAME",
    }.items():
        with pytest.raises(SecateurError, match=reason) as caught:
            load_model(spec, (4,))
        assert "\n" not in str(caught.value)
