"""The worker: a process of its own with the runtime and the Open Inference Protocol server, and how to talk to it."""
