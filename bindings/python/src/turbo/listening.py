"""Sockets that are bound once for several processes, by the rules of the library's own (turbo_server_listen()).

Of a TCP address each process has a socket of its own, all on the same port (SO_REUSEPORT): with one for all, whoever wakes
first takes all connections of a burst, and keeps them. The supervisor holds every socket, so what waits on one whose
process has died waits for the next. A Unix socket, and one that was given as a descriptor, is shared.
"""

import ctypes
import errno
import os
import socket
import stat
import struct
from typing import List, Optional, Sequence, Tuple

from .config import Config
from .errors import logger

ELSEWHERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)  # an address that merely does not exist here
ATTACH_FILTER = 51  # SO_ATTACH_REUSEPORT_CBPF, which the module socket does not have

Info = Tuple[socket.AddressFamily, Tuple[object, ...]]


class Listeners:
    """The sockets of what a Config says, for so many processes."""

    def __init__(self, config: Config, count: int) -> None:
        self._count = count
        self._groups: List[List[socket.socket]] = []  # by address: one for each process, or one for all
        self._path: Optional[str] = None
        self._backlog = config.number("backlog")
        self._live: Sequence[int] = ()
        try:
            self._open(config)
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> int:
        """0: not TCP."""
        one = self._groups[0][0]
        return int(one.getsockname()[1]) if one.family in (socket.AF_INET, socket.AF_INET6) else 0

    def listen(self) -> None:
        """Connections may come."""
        for group in self._groups:
            for one in group:  # in this order: the kernel counts them so
                if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    one.listen(self._backlog)

    def spread(self, live: Sequence[int]) -> None:
        """New connections are for these processes, by number, and at random. For none: as before."""
        if self._count < 2 or not live or live == self._live:
            return
        self._live = live
        for group in self._groups:
            if len(group) > 1:
                _attach_filter(group[0], live)

    def keep(self, number: int) -> Tuple[int, ...]:
        """In the process of that number: close what is not its own. Returns the descriptors that are."""
        kept = []
        for group in self._groups:
            kept.append(group[number % len(group)])
            for one in group:
                if one is not kept[-1]:
                    one.close()
        return tuple(one.detach() for one in kept)

    def close(self) -> None:
        """Close this process's descriptors, and remove the file of a socket that was made here."""
        for group in self._groups:
            for one in group:
                one.close()
        self._groups = []
        path, self._path = self._path, None
        if path is not None:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass

    def _open(self, config: Config) -> None:
        if config.unix is not None:
            self._open_unix(os.fspath(config.unix))
        elif config.fd is not None:
            self._adopt(config.fd)
        else:
            self._open_host(config.host.strip("[]"), config.port)

    # -- TCP --

    def _bind_all(self, info: Info, dual: bool) -> None:
        """A socket for each process. They would share the port also with another server, by mistake: so it is first taken
        alone, which tells whether somebody else has it, and which one it is when any would do."""
        family, address = info
        alone = _bind(family, address, dual, False)
        group = [alone]
        self._groups.append(group)
        if self._count < 2:
            return
        address = (address[0], alone.getsockname()[1], *address[2:])
        alone.close()
        group.clear()
        try:
            for _ in range(self._count):
                group.append(_bind(family, address, dual, True))
        except BaseException:
            self._groups.remove(group)
            for one in group:
                one.close()
            raise

    def _open_host(self, host: str, port: int) -> None:
        where = f"{host}:{port}"
        if host == "":  # one socket for IPv6 and IPv4, or IPv4 alone where there is no IPv6
            try:
                self._bind_all((socket.AF_INET6, ("::", port)), True)
                return
            except OSError as error:
                if error.errno not in ELSEWHERE:
                    raise _cannot(where, error) from None
            host = "0.0.0.0"
        failed: Optional[OSError] = None
        for family, address in _resolve(host, port):
            # port 0: every address gets the same free one
            address = (address[0], self.port if self._groups else port, *address[2:])
            try:
                self._bind_all((family, address), False)
            except OSError as error:
                failed = error
                if error.errno not in ELSEWHERE:
                    raise _cannot(where, error) from None
        if not self._groups and failed is not None:
            raise _cannot(where, failed)

    # -- others --

    def _open_unix(self, path: str) -> None:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            try:
                one.bind(path)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not _is_stale(path):
                    raise
                os.unlink(path)
                one.bind(path)
        except OSError as error:
            one.close()
            raise _cannot(f"unix:{path}", error) from None
        self._path = path
        self._groups.append([one])

    def _adopt(self, fd: int) -> None:
        try:
            one = socket.socket(fileno=fd)
        except OSError:
            raise ValueError(f"fd: {fd} is no socket") from None
        if one.type != socket.SOCK_STREAM or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            one.detach()
            raise ValueError(f"fd: {fd} is no socket that listens")
        one.set_inheritable(False)
        self._groups.append([one])


def _bind(family: socket.AddressFamily, address: Tuple[object, ...], dual: bool, share: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual))
        one.bind(address)
    except BaseException:
        one.close()
        raise
    return one


def _attach_filter(one: socket.socket, live: Sequence[int]) -> None:
    """Have the kernel choose among these sockets of the group. Without it the kernel chooses among all, by a hash."""
    steps = [(0x20, 0, 0, 0xFFFFF000 + 56), (0x94, 0, 0, len(live))]  # A = a random number; A = A % len(live)
    for i, number in enumerate(live):
        steps += [(0x15, 0, 1, i), (0x06, 0, 0, number)]  # if A == i: return number
    steps.append((0x06, 0, 0, 0xFFFFFFFF))  # not reached
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    try:
        one.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, struct.pack("@HP", len(steps), ctypes.addressof(program)))
    except OSError as error:
        logger.debug("the kernel takes no filter for connections: %s", error)


def _cannot(where: str, error: OSError) -> OSError:
    return OSError(error.errno, f"cannot listen on {where}: {error.strerror or error}")


def _resolve(host: str, port: int) -> List[Info]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(errno.EADDRNOTAVAIL, f'cannot resolve "{host}": {error.strerror}') from None
    return [(family, address) for family, _, _, _, address in found]


def _is_stale(path: str) -> bool:
    """A socket file that nobody accepts on any more may be replaced."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.setblocking(False)
            one.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False
