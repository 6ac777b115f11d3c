"""All of Secateur that runs on a device: link, sensors, store, governor and the worker that serves a rung."""

__version__ = "0.1.0"
