"""The forwarder's worker: integers in, integers out, on the socket that is standard input."""

import socket
import struct


def main() -> None:
    sock = socket.socket(fileno=0)
    unpack, pack = struct.Struct("<Ib").unpack_from, struct.Struct("<Ib").pack
    while True:
        data = sock.recv(65536)
        if not data:
            return
        _, kind = unpack(data)
        number = int.from_bytes(data[5:], "little", signed=True)
        number = number + 1 if kind == 0 else number * number
        body = number.to_bytes(24, "little", signed=True)
        sock.sendall(pack(1 + len(body), 1) + body)


main()
