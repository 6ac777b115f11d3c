"""Compile a trained network once into a ladder of nested networks, ship it signed, re-cut it on demand."""

__version__ = "0.1.0"
