"""Download of blobs in chunks: each is verified before it is written, and a restart continues where it stopped."""

from secateur_agent.transfer.download import ChunkError, DamagedPartError, Download
from secateur_agent.transfer.fetcher import Fetcher

__all__ = ["ChunkError", "DamagedPartError", "Download", "Fetcher"]
