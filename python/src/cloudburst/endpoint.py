"""Where a node is and how to get in: what the program says, then the environment, then what the last local node left.

A node that is started leaves its address and its token in the user's configuration directory. They are read again for each
connection, since a node that was started again may have another port and another token; the token found there goes to the
node that left it and to no other. The environment is read once, so that a client stays with its node.

A worker has a way to the node that runs it which needs no address: see :func:`set_own_node`.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Callable, NamedTuple, Optional
from urllib.parse import urlsplit

from cloudburst.errors import AuthenticationError, InvalidArgumentError

__all__ = ["PORT_DEFAULT", "Endpoint", "Locate", "locator", "locator_of_host", "own_node", "set_own_node"]

PORT_DEFAULT = 7100

_HOST_DEFAULT = "127.0.0.1"
_FOLDER = "cloudburst"


class Endpoint(NamedTuple):
    """The address of a node and the token for it."""

    host: str
    port: int
    secure: bool
    token: str
    socket: Optional[Callable[[float], socket.socket]] = None
    """Makes a connection within so many seconds without the network; None = over TCP."""

    def __repr__(self) -> str:
        # Without the token: what is shown may end up in a log.
        return f"<Endpoint {'https' if self.secure else 'http'}://{self.address}>"

    @property
    def address(self) -> str:
        """Host and port as one writes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address with what it speaks, as :func:`locator` takes it."""
        return f"{'https' if self.secure else 'http'}://{self.address}"

    def same_node(self, other: Endpoint) -> bool:
        """Report whether both are the same place. Whether the same node answers there is not known here."""
        return (self.host, self.port) == (other.host, other.port)


Locate = Callable[[], Endpoint]
"""Says where the node is, for one connection."""


_own: Optional[Endpoint] = None


def set_own_node(address: Optional[str], make_socket: Callable[[float], socket.socket]) -> None:
    """Make this process one that runs functions of a node. The node is reached over such sockets, and needs
    no token. ``address`` is what other programs of this machine reach it by.
    """
    global _own
    _own = _parse(address or _HOST_DEFAULT)._replace(socket=make_socket)


def own_node() -> Optional[Locate]:
    """Return what finds the node that runs this process; None outside of a worker."""
    own = _own
    return None if own is None else lambda: own


def locator(address: Optional[str] = None, token: Optional[str] = None) -> Locate:
    """Return what finds the endpoint: by the arguments, or else the environment of now, or else what a node left.

    Raises InvalidArgumentError for an address, and AuthenticationError for a token, that cannot be one.
    """
    address = address or os.environ.get("CLOUDBURST_ADDRESS")
    token = token or os.environ.get("CLOUDBURST_TOKEN")
    named = _parse(address) if address else None

    def locate() -> Endpoint:
        if _own is not None and (named is None or named.same_node(_own)):
            return _own
        found = named or _home() or _parse(_HOST_DEFAULT)
        return found._replace(token=_token(found, token))

    return locate


def locator_of_host(host: str) -> Locate:
    """Like :func:`locator`, for an address that may lack the port: that is the one of the address found otherwise.

    The environment's port is taken for any host, the one that a node left for its own host.
    """
    named = _parse(host)
    has_port = _has_port(host)
    token = os.environ.get("CLOUDBURST_TOKEN")
    configured = os.environ.get("CLOUDBURST_ADDRESS")
    if configured and not has_port:
        other = _parse(configured)
        named, has_port = named._replace(port=other.port, secure=named.secure or other.secure), True

    def locate() -> Endpoint:
        found = named
        home = None if has_port else _home()
        if home is not None and home.host == named.host:
            found = named._replace(port=home.port, secure=named.secure or home.secure)
        if _own is not None and found.same_node(_own):
            return _own
        return found._replace(token=_token(found, token))

    return locate


def _token(endpoint: Endpoint, token: Optional[str]) -> str:
    found = token or ""
    if not found:
        home = _home()
        if home is not None and (home.host, home.port) == (endpoint.host, endpoint.port):
            found = _saved("token")
    if any(not "!" <= c <= "~" for c in found):
        raise AuthenticationError(
            f"the token for the node at {endpoint.address} has characters that no token has; "
            "copy it from the file 'token' in the node's data directory"
        )
    return found


def _parse(address: str) -> Endpoint:
    if not isinstance(address, str):
        raise _invalid(address, "it is not a string")
    text = address if "://" in address else "http://" + address
    why = ""
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as e:
        raise _invalid(address, str(e)) from None
    if url.scheme not in ("http", "https"):
        why = f"unknown scheme {url.scheme}"
    elif not host:
        why = "it names no host"
    elif url.username or url.path.strip("/") or url.query or url.fragment:
        why = "it says more than a host and a port"
    elif any(c <= " " or c == "\x7f" for c in address):
        why = "it has a blank or a control character"
    if why:
        raise _invalid(address, why)
    assert host is not None
    if host == "localhost":  # which may be ::1 first, where a node does not listen
        host = _HOST_DEFAULT
    return Endpoint(host, port or PORT_DEFAULT, url.scheme == "https", "")


def _has_port(address: str) -> bool:
    return urlsplit(address if "://" in address else "http://" + address).port is not None


def _invalid(address: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"address {address!r}: {why}; give it as host:port, http://host:port or https://host:port")


def _home() -> Optional[Endpoint]:
    """The node that was last started on this machine by the same user."""
    saved = _saved("address")
    try:
        return _parse(saved) if saved else None
    except InvalidArgumentError:  # half written, or not by a node
        return None


def _saved(name: str) -> str:
    """What that node left for its user's clients in a file, or nothing."""
    directory = _config_directory()
    if directory is None:
        return ""
    try:
        return (directory / _FOLDER / name).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _config_directory() -> Optional[Path]:
    # As Go's os.UserConfigDir, with which the node finds the place.
    if sys.platform == "darwin":
        home = os.environ.get("HOME")
        return Path(home, "Library", "Application Support") if home else None
    configured = os.environ.get("XDG_CONFIG_HOME")
    if configured:
        return Path(configured) if Path(configured).is_absolute() else None
    home = os.environ.get("HOME")
    return Path(home, ".config") if home else None
