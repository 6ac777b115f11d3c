"""The bundle format and how a rung's model file is materialised from it. Specified in ``docs/bundle.md``."""
