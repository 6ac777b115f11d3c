"""A master is made ready for int8 only where something computes in it."""

from __future__ import annotations

import pytest
from tests.compiler import digits
from tests.compiler.unbalanced import unbalanced_master

from secateur.assembly import Judge
from secateur.compilation import CompileSettings
from secateur.int8_preparation import check_tuning, prepare_int8
from secateur.ir import SecateurError
from secateur.search import Roofline
from secateur.twin import outputs_of
from secateur_profiles import load

PI = load("raspberry-pi-4b")


def test_channels_are_evened_out_for_int8_and_left_alone_in_float() -> None:
    master, task = unbalanced_master(), digits.task()
    judge = Judge(task, {"validation": outputs_of(master.network, task.inputs("validation"))})
    laps: list[str] = []
    notes: list[str] = []

    def prepared(precision: str, settings: CompileSettings):  # type: ignore[no-untyped-def]
        targets = [Roofline(PI, precision)]
        return prepare_int8(master, master.network, judge, targets, settings, notes, lambda *_: None, laps.append)

    assert prepared("fp32", CompileSettings()) == (master, None)
    assert prepared("int8-weight-only", CompileSettings()) == (master, None)
    assert (laps, notes) == ([], [])
    better, tuning = prepared("int8", CompileSettings(qat_steps=3))
    assert better is not master
    assert tuning is None, "no rung was tuned that could be tuned further"
    assert laps == ["equalise"]
    assert [note.split(":")[0] for note in notes] == [notes[0].split(":")[0], "tuning in int8"]


def test_tuning_in_int8_that_nothing_would_use_is_refused() -> None:
    with pytest.raises(SecateurError, match=r"--qat-steps: nothing computes in int8 \(fp32, fp16\)"):
        check_tuning(CompileSettings(qat_steps=1), [Roofline(PI, "fp32"), Roofline(PI, "fp16")])
    check_tuning(CompileSettings(qat_steps=1), [Roofline(PI, "fp32"), Roofline(PI, "int8-symmetric")])
    check_tuning(CompileSettings(), [Roofline(PI, "fp32")])
