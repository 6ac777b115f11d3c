"""Times files of a pack in turns, in a fresh process: ``python -m secateur_agent.profiling.batch``.

Reads a `BatchRequest` from standard input and writes a `BatchResult` to standard output, both JSON. A process of its own for
each batch, so that a file that ends its runtime takes nothing else with it, and an installation need not wait for all.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from secateur_agent.bundle.golden import noise_inputs
from secateur_agent.bundle.manifest import BundleError
from secateur_agent.inference.backend import Backend, BackendError, one_line, open_backend
from secateur_agent.inference.control import LoadRung
from secateur_agent.profiling.batch_request import BatchRequest, BatchResult
from secateur_agent.profiling.conditions import Watch, merged
from secateur_agent.profiling.interleaved import time_in_turns
from secateur_agent.profiling.machine import describe_machine
from secateur_agent.profiling.pack import Pack, PackError
from secateur_agent.protocol.timings import FileTiming

_MOST_ERROR = 200
_SEED = 1


def time_batch(request: BatchRequest) -> BatchResult:
    """Time files of a pack.

    A file that the runtime refuses gets an error in place of its times; the others are timed all the same.

    Raises:
        PackError: if the pack is damaged.
    """
    pack = Pack(Path(request.pack))
    timings: list[FileTiming] = []
    opened: list[tuple[int, Backend, Callable[[], object]]] = []
    for index in request.indexes:
        try:
            backend = _open(pack, index, request)
            specs = pack.header.files[index].inputs
            run = partial(backend.run, {spec.name: x for spec, x in zip(specs, noise_inputs(specs, _SEED))})
            run()
            opened.append((index, backend, run))
        except (BackendError, BundleError) as error:
            timings.append(FileTiming(file=index, error=one_line(error, _MOST_ERROR)))
        except MemoryError:
            timings.append(FileTiming(file=index, error="not enough memory"))
    watch = Watch(Path(request.sysfs_root), request.throttle_c)
    found = time_in_turns(
        [run for _, _, run in opened],
        pack.header.rounds,
        pack.header.round_ms,
        time_limit_s=request.time_limit_s,
        after_round=watch.look,
    )
    slowed = watch.slowed
    for (index, backend, _), timing in zip(opened, found):
        backend.close()
        p50_ms, p95_ms = _short(timing.p50_ms), _short(timing.p95_ms)
        timings.append(FileTiming(file=index, p50_ms=p50_ms, p95_ms=max(p50_ms, p95_ms), slowed=bool(slowed)))
    return BatchResult(
        ok=True,
        timings=tuple(sorted(timings, key=lambda timing: timing.file)),
        machine=describe_machine(Path(request.sysfs_root) / "proc" / "cpuinfo"),
        conditions=merged(watch.seen),
        slowed=slowed,
    )


def _open(pack: Pack, index: int, request: BatchRequest) -> Backend:
    """Load one file; runtimes want a path, but have read it once they are open."""
    header, packed = pack.header, pack.header.files[index]
    with tempfile.NamedTemporaryFile(dir=request.scratch, prefix="time-") as file:
        file.write(pack.read(index))
        file.flush()
        return open_backend(
            LoadRung(
                rung=f"r{index}-{header.precision}",
                path=file.name,
                sha256=packed.sha256,
                precision=header.precision,
                name="timed",
                inputs=packed.inputs,
                outputs=packed.outputs,
                runtime=header.runtime,
                providers=request.providers,
                threads=header.threads,
            )
        )


def _short(value: float) -> float:
    return float(f"{max(value, 1e-6):.5g}")


def main() -> int:
    """Read a request, write the result; see the module's docstring."""
    try:
        result = time_batch(msgspec.json.decode(sys.stdin.buffer.read(), type=BatchRequest))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        result = BatchResult(ok=False, error=f"batch request: {error}")
    except PackError as error:
        result = BatchResult(ok=False, error=str(error))
    except Exception as error:  # a broken runtime must still give one line
        result = BatchResult(ok=False, error=f"batch: {type(error).__name__}: {one_line(error)}")
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
