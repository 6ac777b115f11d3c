"""Describes the machine that figures are measured on, in one line."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

_FLAGS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx_vnni": "VNNI", "asimddp": "dot product"}


def describe_machine() -> str:
    """Return processor, cores, instruction sets that int8 depends on, memory, and versions of what runs the networks."""
    text = _read("/proc/cpuinfo")
    entries: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        entries.setdefault(key.strip(), value.strip())
    flags = set(entries.get("flags", entries.get("Features", "")).split())
    found = list(dict.fromkeys(name for flag, name in _FLAGS.items() if flag in flags))
    if platform.machine() == "x86_64" and "VNNI" not in found:
        found.append("no VNNI")
    model = entries.get("model name", platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = next((line.split()[1] for line in _read("/proc/meminfo").splitlines() if line.startswith("MemTotal:")), "0")
    parts = [
        f"{model}, {cores} cores ({', '.join(found)})",
        f"{int(memory) / 2**20:.0f} GB RAM",
        f"Python {platform.python_version()}",
        f"ONNX Runtime {metadata.version('onnxruntime')}",
        f"torch {metadata.version('torch')}, one thread",
    ]
    return "; ".join(parts)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
