"""Published ONNX files whose source is not there."""

from __future__ import annotations

import pytest
from tests.compiler.sequence_networks import check, installed_file, with_fixed_inputs

from secateur.ir import UnsupportedModelError
from secateur.load import load_onnx


def test_silero_vad_takes_one_step_at_a_time() -> None:
    """Three inputs (sound, two states), three outputs; its file for sequences, fixed to one step."""
    path = installed_file("silero_vad", "data/silero_vad_16k_sequence.onnx")
    checked = check(with_fixed_inputs(path, {"input": (1, 576)}), batch=1, not_in_tflite="LSTM")
    assert list(checked.network.inputs) == ["input", "h", "c"]
    assert len(checked.network.outputs) == 3
    assert {group.source for group in checked.groups.groups} >= {"encoder.0", "encoder.1", "encoder.2"}
    # The LSTM and the convolution before it stay whole; with a second LSTM for its last cell that is a third of the work.
    assert checked.share > 0.6


def test_silero_vad_over_a_sequence_is_refused() -> None:
    path = installed_file("silero_vad", "data/silero_vad_16k_sequence.onnx")
    with pytest.raises(UnsupportedModelError, match=r"/recurrent/LSTM \(LSTM\): its steps lie on the batch axis"):
        load_onnx(path)


def test_magika_takes_integers() -> None:
    """One-hot vectors by comparison, a norm written out; both dense layers before the last are cut through one group."""
    checked = check(with_fixed_inputs(installed_file("magika", "models/standard_v3_3/model.onnx"), {}))
    assert checked.network.dtype("bytes") == "int32"
    assert [group.size for group in checked.groups.groups] == [64]
    assert checked.share > 0.9
    assert any("reduction" in reason for reason in checked.groups.barriers.values())


def test_rapidocr_text_direction() -> None:
    path = installed_file("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx")
    checked = check(with_fixed_inputs(path, {"x": ("batch", 3, 48, 48)}))
    assert checked.share > 0.9


def test_rapidocr_text_recognition() -> None:
    """A convolutional network with a transformer behind it; norms written out."""
    path = installed_file("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx")
    checked = check(with_fixed_inputs(path, {"x": ("batch", 3, 48, 32)}))
    assert checked.share > 0.6
