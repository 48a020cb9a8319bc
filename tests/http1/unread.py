"""What the server at a port has not read yet, as the kernel tells (Linux, sock_diag(7))."""

import socket
import struct
import time

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
# Those that may hold data: established, FIN_WAIT1 and 2, CLOSE_WAIT, LAST_ACK, CLOSING; not LISTEN, whose queue is
# of connections, and not TIME_WAIT.
STATES = sum(1 << state for state in (1, 4, 5, 8, 9, 11))
HEADER = struct.Struct("=IHHII")  # nlmsghdr
REQUEST = struct.Struct("=BBBBI")  # inet_diag_req_v2, without its inet_diag_sockid
QUEUE_AT = HEADER.size + 4 + 48 + 4  # of idiag_rqueue, behind the sockid and idiag_expires


def unread(port: int) -> int:
    """Bytes that wait in the receive queues of the connections to a port, accepted or not."""
    sockid = struct.pack(">HH", port, 0) + bytes(36) + b"\xff" * 8
    body = REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, STATES) + sockid
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as diag:
        diag.send(HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0) + body)
        total = 0
        while True:
            data = diag.recv(1 << 17)
            at = 0
            while at < len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind == NLMSG_DONE:
                    return total
                if kind == NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", data, at + HEADER.size)[0], "sock_diag")
                total += struct.unpack_from("=I", data, at + QUEUE_AT)[0]
                at += (length + 3) & ~3


def wait_read(port: int, seconds: float) -> None:
    """Until the server has read all that was sent to it."""
    end = time.monotonic() + seconds
    while unread(port) > 0:
        if time.monotonic() > end:
            raise AssertionError(f"the server left bytes unread for {seconds} s")
        time.sleep(0.0005)
