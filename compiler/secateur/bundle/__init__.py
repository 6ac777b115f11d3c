"""Packs and signs bundles; the format itself is `secateur_agent.bundle`."""
