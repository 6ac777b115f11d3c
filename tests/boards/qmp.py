"""QEMU's control socket (docs/interop/qmp-spec in QEMU's source): one JSON object a line, answers and events mixed."""

from __future__ import annotations

import json
import queue
import socket
import threading
from pathlib import Path
from typing import Any


class Qmp:
    """A connection.

    Args:
        path: the socket that QEMU listens on.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command.

        Raises:
            RuntimeError: QEMU refused it or is gone.
        """
        request = {"execute": command, "arguments": arguments}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer = self._answers.get(timeout=30)
        except (OSError, queue.Empty) as error:
            raise RuntimeError(f"QEMU does not answer {command}: {error!r}") from error
        if "return" not in answer:
            raise RuntimeError(f"QEMU refused {command}: {answer}")
        return answer["return"]

    def drain(self) -> list[dict[str, Any]]:
        """All events, once QEMU has ended. Returns: them, oldest first."""
        self._reader.join(timeout=10)
        return self.events

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def _read(self) -> None:
        try:
            with self._socket.makefile("r") as lines:
                for line in lines:
                    message = json.loads(line)
                    if "event" in message:
                        self.events.append(message)
                    elif "QMP" not in message:
                        self._answers.put(message)
        except (OSError, ValueError):
            pass  # QEMU ended in the middle of a line
        self._answers.put({"error": "QEMU ended"})
