"""Addresses of the published client's sockets. Answers come on the client's one connection here, so nothing listens at them."""

from __future__ import annotations

__all__ = ["KEY_ADDRESS_BASE_PORT", "REQUEST_PULLING_BASE_PORT", "Thread", "UserThread"]

REQUEST_PULLING_BASE_PORT = 6460
KEY_ADDRESS_BASE_PORT = 6760


class Thread:
    """A thread of the published system: the address of its machine, and its number there."""

    def __init__(self, ip: str, tid: int) -> None:
        self.ip = ip
        self.tid = tid

    def get_ip(self) -> str:
        """Return the address of the machine."""
        return self.ip

    def get_tid(self) -> int:
        """Return the number of the thread."""
        return self.tid


class UserThread(Thread):
    """A client's thread, with the addresses at which the published client listened and which it named to servers."""

    def get_request_pull_connect_addr(self) -> str:
        """Return where servers sent answers to requests."""
        return f"tcp://{self.ip}:{self.tid + REQUEST_PULLING_BASE_PORT}"

    def get_request_pull_bind_addr(self) -> str:
        """Return where the client listened for answers to requests."""
        return f"tcp://*:{self.tid + REQUEST_PULLING_BASE_PORT}"

    def get_key_address_connect_addr(self) -> str:
        """Return where the routing tier sent the addresses of keys."""
        return f"tcp://{self.ip}:{self.tid + KEY_ADDRESS_BASE_PORT}"

    def get_key_address_bind_addr(self) -> str:
        """Return where the client listened for the addresses of keys."""
        return f"tcp://*:{self.tid + KEY_ADDRESS_BASE_PORT}"
