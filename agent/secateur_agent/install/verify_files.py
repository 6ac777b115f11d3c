"""Helper process: verify the signature of a bundle in the store, and the digest of every file of it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from secateur_agent.bundle.manifest import BundleError
from secateur_agent.install.acceptance import accept_manifest
from secateur_agent.protocol.messages import ModelRef
from secateur_agent.store import Store, StoreError
from secateur_agent.trust import TrustError, load_root


class VerifyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to verify: the store's folder, the trust root's file, the model as the shadow names it, the profile."""

    store: str
    trust_root: str
    model: ModelRef
    profile: str


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """Whether all is as signed. ``damaged``: the fault is the disk's; what was damaged is removed from the store."""

    ok: bool
    error: str = ""
    damaged: bool = False


def verify(request: VerifyRequest) -> VerifyResult:
    """Verify a model in the store."""
    try:
        store = Store(Path(request.store))
        for ref in (request.model.manifest, *request.model.files):
            store.verify(ref.sha256)
        data = store.read(request.model.manifest.sha256)
    except StoreError as error:
        return VerifyResult(ok=False, error=str(error), damaged=True)
    try:
        accept_manifest(load_root(Path(request.trust_root)), data, request.model, request.profile)
    except (BundleError, TrustError) as error:
        return VerifyResult(ok=False, error=str(error))
    return VerifyResult(ok=True)


def main() -> int:
    """Read a request from standard input, write the result to standard output."""
    try:
        request = msgspec.json.decode(sys.stdin.buffer.read(), type=VerifyRequest)
    except msgspec.MsgspecError as error:
        sys.stdout.buffer.write(msgspec.json.encode(VerifyResult(ok=False, error=f"request: {error}")))
        return 2
    sys.stdout.buffer.write(msgspec.json.encode(verify(request)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
