"""What the host needs to read bundles: the very code that devices run, under one name.

The fleet imports it from here, so that its only way into the agent is the protocol.
"""

from __future__ import annotations

from secateur_agent.bundle.manifest import BundleError, Manifest, Recut, RungEntry, open_manifest, open_recut
from secateur_agent.bundle.reader import BundleFolder
from secateur_agent.trust import TrustError, TrustRoot, load_root

__all__ = [
    "BundleError",
    "BundleFolder",
    "Manifest",
    "Recut",
    "RungEntry",
    "TrustError",
    "TrustRoot",
    "load_root",
    "open_manifest",
    "open_recut",
]
