"""The demonstration: a real network, real recordings, real processes; only the boards' sensors are replayed."""
