"""The optimised form of a rung's file is kept, checked, made anew when it does not hold, and computes the same."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from msgspec.structs import replace

from secateur_agent.inference import onnxruntime_optimized
from secateur_agent.inference.backend import BackendError, open_backend
from secateur_agent.inference.onnxruntime_optimized import OptimizedFile, processor

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def run(load: Any) -> np.ndarray:
    return open_backend(load).run({"x": X})[0]


@pytest.fixture
def cached(tiny_rungs: Any, tmp_path: Path) -> Any:
    return tiny_rungs.make(scale=3.0, layers=2, cache=str(tmp_path / "cache"))


def test_the_first_start_keeps_it_and_later_ones_use_it(cached: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(cached)
    kept = OptimizedFile(cached)
    assert kept.sound
    assert not list(kept.path.parent.glob("*.draft-*"))
    started: list[str] = []
    real = onnxruntime.InferenceSession

    def spy(path: str, *args: Any, **options: Any) -> Any:
        started.append(path)
        return real(path, *args, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    np.testing.assert_array_equal(run(cached), expected)
    assert started == [str(kept.path)]


def test_without_a_cache_folder_nothing_is_kept(tiny_rungs: Any, tmp_path: Path) -> None:
    run(tiny_rungs.make())
    assert not list(tmp_path.rglob("*.optimized"))


@pytest.mark.parametrize("damage", ["flipped", "cut", "digest", "no-digest", "garbage"])
def test_one_that_is_damaged_is_made_anew(cached: Any, damage: str) -> None:
    expected = run(cached)
    kept = OptimizedFile(cached)
    digest = kept.path.with_suffix(".sha256")
    data = bytearray(kept.path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
        kept.path.write_bytes(data)
    elif damage == "cut":
        kept.path.write_bytes(data[: len(data) // 2])
    elif damage == "digest":
        digest.write_bytes(b"\xff\xfe")
    elif damage == "no-digest":
        digest.unlink()
    else:  # garbage whose digest is right: the runtime refuses it
        kept.path.write_bytes(b"garbage")
        digest.write_text(hashlib.sha256(kept.path.read_bytes()).hexdigest())
    np.testing.assert_array_equal(run(cached), expected)
    assert kept.sound


def test_another_runtime_or_processor_makes_its_own_and_the_old_one_goes(
    cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(cached)
    before = OptimizedFile(cached).path
    monkeypatch.setattr(onnxruntime_optimized, "processor", lambda: "another")
    run(cached)
    assert OptimizedFile(cached).sound
    assert not before.exists()


def test_a_folder_that_cannot_be_written_keeps_no_rung_from_serving(tiny_rungs: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    load = tiny_rungs.make(scale=3.0, cache=str(tmp_path / "file" / "cache"))
    np.testing.assert_allclose(run(load), np.repeat(3 * X.sum(1, keepdims=True), 2, 1), rtol=1e-5)


def test_a_file_that_is_refused_is_refused_with_a_cache_too(cached: Any) -> None:
    Path(cached.path).write_bytes(b"garbage")
    load = replace(cached, sha256=hashlib.sha256(b"garbage").hexdigest())
    with pytest.raises(BackendError, match=r"ONNX Runtime refuses the file: [^\n]*$"):
        open_backend(load)


def test_processors_are_told_apart_by_their_features(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("processor : 0\nFeatures\t: fp asimd\n")
    (tmp_path / "two").write_text("processor : 0\nFeatures\t: fp asimd asimddp\n")
    found = {processor(tmp_path / name) for name in ("one", "two", "none")}
    assert len(found) == 3


def test_what_killed_processes_left_is_removed(cached: Any) -> None:
    folder = OptimizedFile(cached).path.parent
    folder.mkdir()
    left = OptimizedFile(cached).path.with_suffix(".draft-999999999")
    mine = OptimizedFile(cached).path.with_suffix(f".draft-{os.getppid()}")
    for path in (left, mine):
        path.write_bytes(b"")
    run(cached)
    assert not left.exists()
    assert mine.exists()  # that process is alive
