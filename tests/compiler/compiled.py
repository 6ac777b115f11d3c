"""One compilation of the digits network for two profiles, shared by the tests that only read it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import onnx
import torch
from tests.compiler import digits
from tests.compiler.networks import export_onnx

from secateur.bundle.keys import Keys, load_or_create_keys
from secateur.pipeline import CompileResult, CompileSettings, compile
from secateur_profiles.loader import BUILT_IN

torch.set_num_threads(1)
BOARD, GATEWAY, PHONE = "test-board", "test-gateway", "test-phone"
SOURCES = {BOARD: ("raspberry-pi-4b", 5), GATEWAY: ("linux-x86-64", 1), PHONE: ("android-phone", 3)}
"""Name of a test's profile → the built-in one that it is made of, and the fixed cost of an operator there."""


@cache
def folder() -> Path:
    """Return the folder in which everything of this process's compilation lies; the system clears it."""
    return Path(mkdtemp(prefix="secateur-tests-"))


@cache
def keys() -> Keys:
    """Return the keys that signed it."""
    return load_or_create_keys(folder() / "keys")


@cache
def digits_onnx(folded: bool = True) -> Path:
    """Return the trained network as a file."""
    path = folder() / f"digits-{folded}.onnx"
    onnx.save(export_onnx(digits.trained(), digits.SHAPE, folded), path)
    return path


@cache
def board_file(board: str = BOARD) -> Path:
    """Return a user's own profile: a built-in one with a fine grid and no fixed cost, for small networks have few widths."""
    source, overhead_us = SOURCES[board]
    text = (BUILT_IN / f"{source}.toml").read_text()
    for before, after in {
        f'name = "{source}"\n': f'name = "{board}"\n',
        f"\nop_overhead_us = {overhead_us}\n": "\nop_overhead_us = 0.01\n",
        "\nchannels = 8\n": "\nchannels = 2\n",
    }.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    path = folder() / f"{board}.toml"
    path.write_text(text)
    return path


@cache
def result() -> CompileResult:
    """Return a compilation from the folded file alone, for an int8 and an fp32 profile of the user's own."""
    settings = CompileSettings(rungs=3, steps=20)
    profiles = [str(board_file()), str(board_file(GATEWAY))]
    return compile(str(digits_onnx()), digits.task(), profiles, folder() / "out", "digits", keys(), settings)
