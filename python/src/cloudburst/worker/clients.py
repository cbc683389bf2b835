"""How functions reach the node that runs them as clients of it: over a socket of the worker, whatever the node's address is."""

from __future__ import annotations

import socket

__all__ = ["Clients"]


class Clients:
    """The end of a socket over which connections to the node are sent; the executor has the other.

    It works in processes that a function forks, too. Programs that a function starts do not have it: they find the node by
    CLOUDBURST_ADDRESS. Safe for concurrent use.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def connect(self, seconds: float) -> socket.socket:
        """Return a connection to the node, made within so many seconds. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            self._sock.settimeout(seconds)
            socket.send_fds(self._sock, [b"c"], [theirs.fileno()])
            ours.settimeout(seconds)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours
