"""What a rung costs on this device: latency, peak memory and energy, measured in a fresh process."""
