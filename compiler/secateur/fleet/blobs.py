"""Files as blobs: references with chunk lists, and single chunks read back and checked."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from secateur_agent.protocol.messages import MAX_CHUNK_BYTES, BlobRef

DEFAULT_CHUNK_BYTES = 64 << 10
MIN_CHUNK_BYTES = 1024


class BlobError(ValueError):
    """A blob cannot be read, or its file is not what it was when it was registered."""


def blob_ref(data: bytes, chunk_bytes: int = DEFAULT_CHUNK_BYTES) -> BlobRef:
    """Return the reference by which devices fetch and verify ``data``.

    Args:
        data: the whole file.
        chunk_bytes: bytes of each chunk but the last.

    Raises:
        BlobError: if the chunk size is out of range.
    """
    if not MIN_CHUNK_BYTES <= chunk_bytes <= MAX_CHUNK_BYTES:
        raise BlobError(f"chunk size {chunk_bytes} bytes: choose 1 to {MAX_CHUNK_BYTES >> 10} KiB")
    digests = [hashlib.sha256(data[start : start + chunk_bytes]).digest() for start in range(0, len(data), chunk_bytes)]
    chunks = base64.b64encode(b"".join(digests)).decode() if len(digests) > 1 else ""
    return BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data), chunk_bytes=chunk_bytes, chunks=chunks)


def read_chunk(path: Path, ref: BlobRef, index: int) -> bytes:
    """Return chunk ``index`` of the blob whose file is at ``path``.

    Raises:
        BlobError: if there is no such chunk, or the file is gone or was altered.
    """
    if not 0 <= index < ref.chunk_count:
        raise BlobError(f"blob {ref.sha256[:12]}: no chunk {index}; it has {ref.chunk_count}")
    try:
        with path.open("rb") as file:
            file.seek(index * ref.chunk_bytes)
            data = file.read(ref.chunk_bytes)
    except OSError as error:
        raise BlobError(f"{path}: {error.strerror}; push the bundle again from where it is now") from None
    if hashlib.sha256(data).digest() != ref.chunk_digests()[index]:
        raise BlobError(f"{path}: altered since it was pushed; push the bundle again")
    return data
