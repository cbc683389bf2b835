"""From an endpoint to a socket that speaks frames: TCP, TLS where the address says so, and the HTTP Upgrade.

Every refusal becomes the exception that says what to do about it.
"""

from __future__ import annotations

import socket
import time
from typing import Dict, Tuple, cast

from cloudburst.endpoint import Endpoint
from cloudburst.errors import AuthenticationError, Error, IncompatibleError, UnavailableError

__all__ = ["PROTOCOL", "dial"]

PROTOCOL = "cloudburst/1"

_HEAD_BYTES_MAX = 16 << 10
_REFUSAL_BYTES_MAX = 4 << 10  # of a refusal's text, what an error repeats
_READ_BYTES = 4 << 10

# A node that has vanished without a word is noticed after about half a minute.
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


def dial(endpoint: Endpoint, deadline: float) -> Tuple[socket.socket, bytes]:
    """Return a connected socket and what it has received beyond the handshake.

    ``deadline`` is a reading of ``time.monotonic``. Raises UnavailableError when no node answers, AuthenticationError when it
    refuses the token, and IncompatibleError when what answers speaks something else.
    """
    sock = None
    try:
        if endpoint.socket is not None:
            sock = endpoint.socket(_left(deadline))
        else:
            sock = _tcp(endpoint, deadline)
            if endpoint.secure:
                from cloudburst.secure import SecureSocket

                sock = cast(socket.socket, SecureSocket.handshake(sock, endpoint.host, _left(deadline)))
        rest = _upgrade(sock, endpoint, deadline)
        sock.settimeout(None)
        return sock, rest
    except Error:
        if sock is not None:
            sock.close()
        raise
    except (OSError, UnicodeError) as e:  # UnicodeError: a host name that cannot be one
        if sock is not None:
            sock.close()
        raise _unreachable(endpoint, e) from e


def _tcp(endpoint: Endpoint, deadline: float) -> socket.socket:
    sock = socket.create_connection((endpoint.host, endpoint.port), timeout=_left(deadline))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _unreachable(endpoint: Endpoint, cause: Exception) -> UnavailableError:
    untrusted = getattr(cause, "verify_message", "")
    if untrusted:
        return UnavailableError(
            f"the certificate of the node at {endpoint.address} is not trusted: {untrusted}; name the file of its authority in "
            "SSL_CERT_FILE"
        )
    why = str(getattr(cause, "strerror", None) or cause)
    if isinstance(cause, (TimeoutError, socket.timeout)):
        why = "it did not answer in time"
    if not endpoint.context:
        return UnavailableError(
            f"no node answers at {endpoint.address}: {why}; start one with `cloudburst serve`, or name another with "
            "CLOUDBURST_ADDRESS"
        )
    return UnavailableError(
        f"no node answers at {endpoint.shown}: {why}; start it again with `cloudburst serve`, or choose another: "
        "`cloudburst context ls` lists them, `cloudburst context use NAME`, CLOUDBURST_CONTEXT=NAME or "
        "cloudburst.connect(context=NAME) chooses"
    )


def _upgrade(sock: socket.socket, endpoint: Endpoint, deadline: float) -> bytes:
    authorization = f"Authorization: Bearer {endpoint.token}\r\n" if endpoint.token else ""
    request = (
        f"GET /v1/stream HTTP/1.1\r\nHost: {endpoint.address}\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n"
        f"{authorization}\r\n"
    )
    sock.sendall(request.encode("ascii"))
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > _HEAD_BYTES_MAX:
            raise _no_node(endpoint, "its answer has no end")
        sock.settimeout(_left(deadline))
        received = sock.recv(_READ_BYTES)
        if not received:
            raise UnavailableError(f"the node at {endpoint.shown} closed the connection without an answer; look at its log")
        data += received
        if not b"HTTP/".startswith(data[:5]):
            raise _no_node(endpoint, f"it said {data[:40]!r}")
    head, _, rest = data.partition(b"\r\n\r\n")
    status, reason, fields = _parse(head, endpoint)
    if status == 101 and fields.get("upgrade", "").lower() == PROTOCOL:
        return rest
    raise _refused(endpoint, status, reason, _body(sock, rest, fields, deadline))


def _parse(head: bytes, endpoint: Endpoint) -> Tuple[int, str, Dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    _, _, rest = lines[0].partition(" ")
    number, _, reason = rest.partition(" ")
    if not number.isdigit():
        raise _no_node(endpoint, f"it said {lines[0][:80]!r}")
    fields: Dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    return int(number), reason, fields


def _body(sock: socket.socket, rest: bytes, fields: Dict[str, str], deadline: float) -> str:
    """What a refusal says; whatever of it arrives in time is good enough."""
    length = fields.get("content-length", "")
    wanted = min(int(length), _REFUSAL_BYTES_MAX) if length.isdigit() and len(length) < 10 else _REFUSAL_BYTES_MAX
    try:
        while len(rest) < wanted:
            sock.settimeout(min(_left(deadline), 1.0))
            received = sock.recv(_READ_BYTES)
            if not received:
                break
            rest += received
    except OSError:
        pass
    return rest[:wanted].decode("utf-8", "replace").strip()


def _refused(endpoint: Endpoint, status: int, reason: str, said: str) -> Error:
    if status == 401:
        where = (
            "the token is looked up in this order: the argument token, the variable CLOUDBURST_TOKEN, and the context of the "
            "node, for one that the same user has started on this machine (cloudburst context ls); a node keeps its own in the "
            "file 'token' of its data directory. A pickle never holds a token: give a process that a program starts "
            "CLOUDBURST_TOKEN, or let it connect by itself"
        )
        if not endpoint.token:
            return AuthenticationError(f"the node at {endpoint.shown} wants a token and none is known for it; {where}")
        return AuthenticationError(f"the node at {endpoint.shown} refuses the token; {where}")
    if status == 426:
        return IncompatibleError(
            f"the node at {endpoint.shown} does not speak {PROTOCOL}: {said}; install the SDK of the node's version"
        )
    if status in (429, 502, 503, 504):
        return UnavailableError(f"the node at {endpoint.shown} takes no connection now: {said or reason}")
    return _no_node(endpoint, f"it said {status} {reason} {said[:200]!r}")


def _no_node(endpoint: Endpoint, why: str) -> IncompatibleError:
    return IncompatibleError(f"the server at {endpoint.shown} is not a Cloudburst node: {why}")
