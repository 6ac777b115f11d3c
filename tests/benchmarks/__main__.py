"""The command: ``python -m tests.benchmarks [ID …]``, from the root of the repository."""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .case import Measured, NoDataError
from .figures import FIGURES
from .machine import describe_machine
from .page import render_page
from .rows import Row, RowsError, merge_rows, read_rows, write_rows

DOCS = Path("docs")
CASE_LIMIT_S = 1800.0
_SKIPPED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the rows and the page; exit 0 if every case could be measured, met or not."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help=f"what to measure, all quick ones if none is given: {', '.join(FIGURES)}"
    )
    parser.add_argument("--full", action="store_true", help="the long ones instead: hours, but it goes on where it was")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of benchmarks.json and .md (default: docs)")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if unknown := [each for each in options.ids if each not in FIGURES]:
        parser.error(f"no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    if options.case:
        return _run_case(options.case, options.work)
    wanted = options.ids or [figure.id for figure in FIGURES.values() if figure.long == options.full]
    try:
        old = read_rows(options.docs / "benchmarks.json")
    except RowsError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    began = time.monotonic()
    machine, today = describe_machine(), datetime.date.today().isoformat()
    print(machine)
    measured: list[Measured] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="secateur-bench-") as folder:
        for case in dict.fromkeys(FIGURES[each].case for each in wanted):
            try:
                measured += [each for each in _start_case(case, Path(folder)) if each.id in wanted]
            except RuntimeError as error:
                failed.append(case)
                print(f"benchmarks: {error}", file=sys.stderr)
    rows = merge_rows(old, [_row(each, machine, today) for each in measured], list(FIGURES))
    write_rows(options.docs / "benchmarks.json", rows)
    (options.docs / "benchmarks.md").write_text(render_page(rows, FIGURES), encoding="utf-8")
    for row in (_row(each, machine, today) for each in measured):
        print(
            f"{row.id:<16} {row.value:>10.4g} {row.unit:<8} {row.target:<8} {'met' if row.met else 'MISSED':<7} {row.case}"
        )
    print(f"{len(measured)} rows in {time.monotonic() - began:.0f} s; see {options.docs / 'benchmarks.md'}")
    return 1 if failed else 0


def _row(each: Measured, machine: str, date: str) -> Row:
    figure = FIGURES[each.id]
    value = float(f"{each.value:.5g}")
    return Row(each.id, each.case, value, figure.target, figure.unit, figure.met(value), machine, date)


def _start_case(case: str, work: Path) -> list[Measured]:
    """Run a case in a process of its own, so that it neither inherits memory nor leaves threads to the next."""
    print(f"{case.replace('_', '-')}: {', '.join(f.id for f in FIGURES.values() if f.case == case)}", flush=True)
    limit_s = None if any(f.long for f in FIGURES.values() if f.case == case) else CASE_LIMIT_S
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.benchmarks", "--case", case, "--work", str(work)]
    try:
        code = subprocess.run(command, env=environment, timeout=limit_s, check=False).returncode
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"case {case} took longer than {CASE_LIMIT_S:g} s") from None
    if code == _SKIPPED:
        return []
    if code:
        raise RuntimeError(f"case {case} ended with status {code}; its rows stay as they were")
    return [Measured(**each) for each in json.loads((work / f"{case}.json").read_text(encoding="utf-8"))]


def _run_case(case: str, work: Path) -> int:
    import torch

    torch.set_num_threads(1)
    try:
        measured: list[Measured] = importlib.import_module(f"{__package__}.{case}").measure(work)
    except NoDataError as error:
        print(f"  skipped, its rows stay as they were: {error}")
        return _SKIPPED
    (work / f"{case}.json").write_text(json.dumps([asdict(each) for each in measured]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
