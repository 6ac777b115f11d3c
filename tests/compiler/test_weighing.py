"""Profiles of this machine get the precision that measurement favours; nobody else's and no wish is overruled."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compiler import compiled, digits

from secateur import weighing
from secateur.assembly import Judge
from secateur.compilation import CompileSettings
from secateur.graph import find_groups
from secateur.pipeline import compile
from secateur.precision_choice import Candidate
from secateur.search import Estimator, Roofline
from secateur.twin import outputs_of
from secateur.weighing import weigh_targets
from secateur_profiles import load


def weigh(
    targets: list[Estimator], settings: CompileSettings, notes: list[str]
) -> tuple[list[Estimator], dict[str, list[Candidate]]]:
    network, task = digits.network(), digits.task()
    judge = Judge(task, {"validation": outputs_of(network, task.inputs("validation"))})
    return weigh_targets(targets, network, find_groups(network), judge, settings, notes, lambda *_: None)


def test_the_chosen_precision_is_planned_with(monkeypatch: pytest.MonkeyPatch) -> None:
    here: Estimator = Roofline(load("linux-x86-64"), "fp32")
    other: Estimator = Roofline(load("raspberry-pi-4b"), "int8")
    candidates = [Candidate("fp32", 2.0, 0.9, 400, True), Candidate("int8-weight-only", 1.0, 0.9, 100, True, True)]
    monkeypatch.setattr(weighing, "weigh_precisions", lambda *_: candidates)
    monkeypatch.setattr(weighing, "is_this_machine", lambda profile: profile.name == "linux-x86-64")
    notes: list[str] = []
    found, weighed = weigh([here, other], CompileSettings(), notes)
    assert [target.precision for target in found] == ["int8-weight-only", "int8"]
    assert weighed == {"linux-x86-64": candidates}
    assert notes[0].startswith("linux-x86-64: int8-weight-only, chosen from")
    assert weigh([here, other], CompileSettings(precisions=("fp32",)), notes) == ([here, other], {})
    assert weigh([other], CompileSettings(), notes) == ([other], {})


def test_a_bundle_for_this_machine_tells_all_that_were_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weighing, "is_this_machine", lambda profile: profile.name == "linux-x86-64")
    settings = CompileSettings(rungs=2, steps=0, verify_latency=False)
    made = compile(
        str(compiled.digits_onnx()), digits.task(), ["linux-x86-64"], tmp_path / "out", "digits", compiled.keys(), settings
    )
    (profile,) = made.profiles
    assert [each.precision for each in profile.candidates] == list(load("linux-x86-64").precisions)
    (chosen,) = [each.precision for each in profile.candidates if each.chosen]
    assert {rung.entry.precision for rung in profile.rungs} == {chosen}
