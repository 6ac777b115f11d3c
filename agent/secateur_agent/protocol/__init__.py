"""The contract between host and device: topics, messages and signed envelopes. Specified in ``docs/protocol.md``."""
