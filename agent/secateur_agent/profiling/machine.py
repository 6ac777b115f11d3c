"""The machine in one line: what measured latencies hold for. Imports neither numpy nor a runtime."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_FLAGS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx_vnni": "VNNI", "asimddp": "dot product"}


def describe_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return processor, cores and the instruction sets that kernels are chosen by.

    Args:
        cpuinfo: where Linux describes the processor.
    """
    entries: dict[str, str] = {}
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        entries.setdefault(key.strip(), value.strip())
    flags = set(entries.get("flags", entries.get("Features", "")).split())
    found = ", ".join(dict.fromkeys(name for flag, name in _FLAGS.items() if flag in flags))
    model = entries.get("model name") or platform.processor() or "processor of unknown model"
    return f"{platform.machine()}, {model}, {os.cpu_count()} cores" + (f" ({found})" if found else "")
