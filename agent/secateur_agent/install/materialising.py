"""The request to write model files, and its result, as the supervisor sees them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from secateur_agent.helper_processes import HelperEnded, Job
from secateur_agent.protocol.messages import RecutRef

_MODULE = "secateur_agent.bundle.materialise_rungs"
_TIME_LIMIT_S = 600.0


class MaterialiseResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the helper answers: ``files`` are rung id → path of those that are on disk now."""

    ok: bool
    error: str = ""
    files: dict[str, str] = {}


def materialise_job(
    owner: str,
    store: Path,
    manifest_sha256: str,
    trust_root: Path,
    out: Path,
    recuts: tuple[RecutRef, ...] = (),
    rungs: list[str] | None = None,
) -> Job:
    """Return the job that writes the files of ``rungs`` (None: all) to ``out``."""
    request = {
        "store": str(store),
        "manifest_sha256": manifest_sha256,
        "trust_root": str(trust_root),
        "recuts": [{"envelope_b64": recut.envelope, "recipe": recut.recipe.sha256} for recut in recuts],
        "rungs": rungs or "all",
        "out": str(out),
    }
    return Job(
        owner=owner,
        key=f"{manifest_sha256}:materialise",
        module=_MODULE,
        request=msgspec.json.encode(request),
        time_limit_s=_TIME_LIMIT_S,
    )


def materialise_error(ended: HelperEnded) -> str:
    """Return why the files are not there, '' if they are."""
    if ended.error:
        return f"materialise: {ended.error}"
    try:
        result = msgspec.json.decode(ended.output, type=MaterialiseResult)
    except msgspec.MsgspecError:
        return "materialise: its result cannot be read"
    return "" if result.ok else result.error or "materialise failed"
