"""A client for ttrpc, the protocol between containerd and its shims, with messages of protobuf written and read by field numbers:
for calls that no program of containerd makes."""
import socket
import struct

from harness import DEADLINE, Failure


class Refused(Failure):
    """An answer that is an error; `code` is that of gRPC."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


def varint(number):
    number &= (1 << 64) - 1
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def message(*fields):
    """Encodes pairs (number, value): an integer, text, or bytes, which may be another message."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def any_of(name, value):
    """Encodes a google.protobuf.Any."""
    return message((1, name), (2, value))


def fields(data):
    """Decodes a message; returns {number: [values]}, each an integer or bytes."""
    found, place = {}, 0

    def number():
        nonlocal place
        value, shift = 0, 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(data):
        key = number()
        if key & 7 == 0:
            value = number()
        elif key & 7 == 2:
            length = number()
            value, place = data[place:place + length], place + length
        else:
            raise Failure(f"a field of type {key & 7} in {data!r}")
        found.setdefault(key >> 3, []).append(value)
    return found


def connected(address):
    """Returns a connection to a socket, given as `unix://PATH`."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(address.removeprefix("unix://"))
    return connection


def ask(connection, service, method, payload=b""):
    """Calls a method; returns the answer's fields. The connection serves one call after the other."""
    request = message((1, service), (2, method), (3, payload))
    connection.sendall(struct.pack(">IIBB", len(request), 1, 1, 0) + request)
    answer = b""
    while len(answer) < 10 or len(answer) < 10 + struct.unpack(">I", answer[:4])[0]:
        chunk = connection.recv(65536)
        if not chunk:
            raise Failure(f"{method}: the shim has closed the connection")
        answer += chunk
    found = fields(answer[10:])
    if 1 in found:
        status = fields(found[1][0])
        raise Refused(status.get(1, [0])[0], status.get(2, [b""])[0].decode())
    return fields(found.get(2, [b""])[0])


def call(address, service, method, payload=b""):
    """Calls a method at a socket by a connection of its own."""
    with connected(address) as connection:
        return ask(connection, service, method, payload)
