"""Who may sign what: the trust root, and the verification of manifests, re-cut rungs and commands."""

from secateur_agent.trust.root import TrustError, TrustRoot, load_root, open_signed

__all__ = ["TrustError", "TrustRoot", "load_root", "open_signed"]
