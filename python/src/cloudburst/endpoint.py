"""Where a node is and how to get in: what the program says, then the environment, then the current context.

Which context it is, and the environment, is read once, so that a client stays with its node. The address and the token of the
context are read again for each connection, since a node that was started again may have another port and another token; the
token goes to the address that it was left for and to no other.

A worker has a way to the node that runs it which needs no address: see :func:`set_own_node`.
"""

from __future__ import annotations

import os
import socket
from typing import Callable, NamedTuple, Optional
from urllib.parse import urlsplit

from cloudburst.contexts import all_contexts, context, current_context
from cloudburst.errors import AuthenticationError, InvalidArgumentError

__all__ = ["PORT_DEFAULT", "Endpoint", "Locate", "locator", "locator_of_host", "own_node", "set_own_node"]

PORT_DEFAULT = 7100

_HOST_DEFAULT = "127.0.0.1"


class Endpoint(NamedTuple):
    """The address of a node and the token for it."""

    host: str
    port: int
    secure: bool
    token: str
    socket: Optional[Callable[[float], socket.socket]] = None
    """Makes a connection within so many seconds without the network; None = over TCP."""
    context: str = ""
    """The context that says so; empty when the address was given."""

    def __repr__(self) -> str:
        # Without the token: what is shown may end up in a log.
        return f"<Endpoint {'https' if self.secure else 'http'}://{self.address}>"

    @property
    def address(self) -> str:
        """Host and port as one writes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        """The address, and the context that it is from, for people."""
        return f"{self.address} (context {self.context})" if self.context else self.address

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


def locator(address: Optional[str] = None, token: Optional[str] = None, named: Optional[str] = None) -> Locate:
    """Return what finds the endpoint: by the arguments, or else the environment of now, or else the current context.

    ``named`` is the name of a context. Raises InvalidArgumentError for an address or a context that cannot be one, and
    AuthenticationError for a token.
    """
    if address and named:
        raise InvalidArgumentError(f"address {address!r} and context {named!r} name two nodes; give one of them")
    if not named:
        address = address or os.environ.get("CLOUDBURST_ADDRESS")
        token = token or os.environ.get("CLOUDBURST_TOKEN")
    given = _parse(address) if address else None
    chosen = named or os.environ.get("CLOUDBURST_CONTEXT") or ""
    if chosen and given is None:
        context(chosen)

    def locate() -> Endpoint:
        nonlocal chosen
        if _own is not None and (given.same_node(_own) if given is not None else not named):
            return _own
        if given is not None:
            return given._replace(token=_token(given, token))
        chosen = chosen or current_context()
        if not chosen:
            nowhere = _parse(_HOST_DEFAULT)
            return nowhere._replace(token=_token(nowhere, token))
        found = context(chosen)
        endpoint = _parse(found.address)._replace(context=found.name)
        return endpoint._replace(token=_checked(endpoint, token or found.token))

    return locate


def locator_of_host(host: str) -> Locate:
    """Like :func:`locator`, for an address that may lack the port: that is the one of the address found otherwise.

    The environment's port is taken for any host, that of a context for its own host.
    """
    named = _parse(host)
    has_port = _has_port(host)
    token = os.environ.get("CLOUDBURST_TOKEN")
    configured = os.environ.get("CLOUDBURST_ADDRESS")
    chosen = os.environ.get("CLOUDBURST_CONTEXT") or ""
    if configured and not has_port:
        other = _parse(configured)
        named, has_port = named._replace(port=other.port, secure=named.secure or other.secure), True

    def locate() -> Endpoint:
        nonlocal chosen
        chosen = chosen or current_context()
        found, left = named, ""
        if chosen and not has_port:
            there = context(chosen)
            at = _parse(there.address)
            if at.host == named.host:
                left = there.token
                found = named._replace(port=at.port, secure=named.secure or at.secure, context=chosen)
        if _own is not None and found.same_node(_own):
            return _own
        return found._replace(token=_checked(found, token or left) if token or left else _token(found, token))

    return locate


def _token(endpoint: Endpoint, token: Optional[str]) -> str:
    """Return the token, or else the one that the node which was started last at this address has left."""
    if not token:
        left = [each for each in all_contexts() if _is_at(each.address, endpoint)]
        token = max(left, key=lambda each: each.started).token if left else ""
    return _checked(endpoint, token)


def _is_at(address: str, endpoint: Endpoint) -> bool:
    try:
        return _parse(address).same_node(endpoint)
    except InvalidArgumentError:  # not by a node
        return False


def _checked(endpoint: Endpoint, token: str) -> str:
    if any(not "!" <= c <= "~" for c in token):
        raise AuthenticationError(
            f"the token for the node at {endpoint.shown} has characters that no token has; "
            "copy it from the file 'token' in the node's data directory"
        )
    return token


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
