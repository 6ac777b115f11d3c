"""Commands on a board, as root: for the tests to look and to touch. The product never uses this way."""

from __future__ import annotations

import base64
import socket
import time
from pathlib import Path


class GuestShell:
    """The host's end of the line that `root/usr/lib/test-board/shell` answers.

    Args:
        path: the socket that QEMU listens on for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._pending = b""
        self._number = 0

    def run(self, script: str, limit_s: int) -> tuple[int, bytes]:
        """Run a script of bash.

        Args:
            script: what to run.
            limit_s: it is killed after so many seconds (status 124).

        Returns:
            Its status and what it printed on stdout and stderr.

        Raises:
            TimeoutError: the board does not answer.
            ConnectionError: the board went off.
        """
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(str(self._path))
        self._number += 1
        number = self._number
        encoded = base64.b64encode(script.encode()).decode()
        self._socket.sendall(f"{number} {limit_s} {encoded}\n".encode())
        deadline = time.monotonic() + limit_s + 30
        while True:
            fields = self._line(deadline).split()
            # An answer to an older command, whose caller has given up, is passed over.
            if len(fields) >= 2 and fields[0] == str(number):
                return int(fields[1]), base64.b64decode(fields[2]) if len(fields) > 2 else b""

    def close(self) -> None:
        """Forget the connection, when the board is off."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._pending = b""

    def _line(self, deadline: float) -> str:
        assert self._socket is not None
        while b"\n" not in self._pending:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.01))
            received = self._socket.recv(1 << 16)
            if not received:
                raise ConnectionError("the board is off")
            self._pending += received
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode()
