"""Files by their digest, written so that a power cut at any instant leaves either the old state or the new one."""

from secateur_agent.store.blobs import Store
from secateur_agent.store.files import StoreError, make_folder, remove_leftovers, write_atomic

__all__ = ["Store", "StoreError", "make_folder", "remove_leftovers", "write_atomic"]
