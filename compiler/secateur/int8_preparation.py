"""Makes a tuned master ready for int8 files: channels of similar ranges, and tuning that sees what is rounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from secateur.assembly import Judge
from secateur.compilation import CompileSettings, Progress
from secateur.equalising import equalise_if_better
from secateur.ir import Network, SecateurError
from secateur.master import Master
from secateur.quantized_tuning import (
    LEARNING_RATE,
    QuantizedTuning,
    better_in_int8,
    quantized_precision,
    told,
    tune_quantized,
)
from secateur.search import Estimator
from secateur.tuning import SandwichSettings


def check_tuning(settings: CompileSettings, targets: Sequence[Estimator]) -> None:
    """Refuse tuning in int8 if no profile computes in it.

    Raises:
        SecateurError: if so.
    """
    precisions = [target.precision for target in targets]
    if settings.qat_steps and not quantized_precision(precisions):
        raise SecateurError(
            f"--qat-steps: nothing computes in int8 ({', '.join(precisions)}); leave it out, or ask for --precision int8"
        )


def prepare_int8(
    master: Master,
    teacher: Network,
    judge: Judge,
    targets: Sequence[Estimator],
    settings: CompileSettings,
    notes: list[str],
    progress: Progress,
    lap: Callable[[str], None],
) -> tuple[Master, QuantizedTuning | None]:
    """Even out channels and tune in int8, each if int8 files are better for it.

    Args:
        master: tuned in float.
        teacher: the original, sorted like the master.
        judge: validation data.
        targets: if none of them computes in int8, nothing is done.
        settings: steps of tuning.
        notes: gets a line for each thing that was done.
        progress: told how far it is.
        lap: told when a step is finished.

    Returns:
        The master to build rungs from, and what tuning in int8 did.
    """
    precision = quantized_precision([target.precision for target in targets])
    if not precision:
        return master, None
    progress("equalise", 0, 1)
    master, line = equalise_if_better(master, precision, judge.compared())
    notes += [line] if line else []
    lap("equalise")
    if not settings.qat_steps:
        return master, None
    if not master.tuned:
        notes.append("tuning in int8: left out, since all tuning was taken back")
        return master, None
    steps, judged = settings.qat_steps, judge.compared()
    tuning = SandwichSettings(steps, balance=settings.balance, seed=settings.seed, learning_rate=LEARNING_RATE)
    tuned = tune_quantized(
        master, teacher, judge.task, precision, tuning, judged, lambda step, _: progress("qat", step, steps)
    )
    master, found = better_in_int8(master, tuned, precision, steps, judged, partial(judge.metric, split="validation"))
    notes.append(told(found))
    lap("qat")
    return master, found
