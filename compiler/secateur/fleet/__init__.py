"""Runs a fleet: controller, telemetry store, desired shadows, chunk publishing, re-prune service, REST API."""
