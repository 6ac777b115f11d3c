"""The listening socket of the inference server. The supervisor opens it and keeps it across workers."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

_BACKLOG = 1024


class ListenError(ValueError):
    """The address cannot be listened on."""


def listening_socket(spec: str) -> socket.socket:
    """Open a listening socket.

    Args:
        spec: ``HOST:PORT`` (port 0 takes a free one), ``[IPV6]:PORT`` or ``unix:PATH``.

    Raises:
        ListenError: if the address is malformed, in use or not allowed; one line.
    """
    return _unix_socket(spec.removeprefix("unix:")) if spec.startswith("unix:") else _tcp_socket(spec)


def endpoint(listening: socket.socket) -> str:
    """Return the address that a client uses: ``http://HOST:PORT`` or ``unix:PATH``."""
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def host_and_port(spec: str) -> tuple[str, int]:
    """Parse ``HOST:PORT`` or ``[IPV6]:PORT``.

    Raises:
        ListenError: if it is something else.
    """
    host, colon, port = spec.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ListenError(f"listen {spec!r}: expected HOST:PORT (such as 127.0.0.1:8000) or unix:PATH")
    return host, int(port)


def _tcp_socket(spec: str) -> socket.socket:
    host, port = host_and_port(spec)
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A restart must not wait for the connections of the process before it to leave TIME_WAIT.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise ListenError(_reason(spec, error)) from None
    return listening


def _unix_socket(path: str) -> socket.socket:
    spec = f"unix:{path}"
    if not path:
        raise ListenError(f"listen {spec!r}: the path is missing")
    _remove_stale(path, spec)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The file's mode comes from the umask when it is bound; a chmod afterwards would leave it open for an instant.
    umask = os.umask(0o177)
    try:
        listening.bind(path)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise ListenError(_reason(spec, error)) from None
    finally:
        os.umask(umask)
    return listening


def _remove_stale(path: str, spec: str) -> None:
    """Remove the socket file that a killed process left, but nothing else, and not one that is in use."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"listen {spec!r}: there is a file of this name that is no socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(path)
            return
        except OSError:
            return
    raise ListenError(f"listen {spec!r}: in use by another process; choose another path or end that process")


def _reason(spec: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"listen {spec!r}: in use by another process; choose another address or end that process"
    if error.errno == errno.EACCES:
        return f"listen {spec!r}: permission denied; choose a port of 1024 or more, or a path you may write"
    return f"listen {spec!r}: {error.strerror or error}"
