"""Sockets that are bound once for several processes, by the rules of the library's own (turbo_server_listen())."""

import errno
import os
import socket
import stat
from typing import List, Optional, Tuple

from .config import Config

ELSEWHERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)  # an address that merely does not exist here

Info = Tuple[socket.AddressFamily, Tuple[object, ...]]


class Listeners:
    """The sockets of one address, for processes that inherit them, and call listen() when they are ready to accept."""

    def __init__(self, config: Config) -> None:
        self.sockets: List[socket.socket] = []
        self._path: Optional[str] = None
        try:
            self._open(config)
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> int:
        """0: not TCP."""
        one = self.sockets[0]
        return int(one.getsockname()[1]) if one.family in (socket.AF_INET, socket.AF_INET6) else 0

    def fds(self) -> Tuple[int, ...]:
        """The descriptors, which stay ours."""
        return tuple(one.fileno() for one in self.sockets)

    def close(self) -> None:
        """Close this process's descriptors, and remove the file of a socket that was made here."""
        for one in self.sockets:
            one.close()
        self.sockets = []
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

    def _bind(self, info: Info, dual: bool) -> None:
        family, address = info
        one = socket.socket(family, socket.SOCK_STREAM)
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual))
            one.bind(address)
        except BaseException:
            one.close()
            raise
        self.sockets.append(one)

    def _open_host(self, host: str, port: int) -> None:
        where = f"{host}:{port}"
        if host == "":  # one socket for IPv6 and IPv4, or IPv4 alone where there is no IPv6
            try:
                self._bind((socket.AF_INET6, ("::", port)), True)
                return
            except OSError as error:
                if error.errno not in ELSEWHERE:
                    raise _cannot(where, error) from None
            host = "0.0.0.0"
        failed: Optional[OSError] = None
        for family, address in _resolve(host, port):
            try:
                # port 0: every address gets the same free one
                self._bind((family, (address[0], self.port if self.sockets else port, *address[2:])), False)
            except OSError as error:
                failed = error
                if error.errno not in ELSEWHERE:
                    raise _cannot(where, error) from None
        if not self.sockets and failed is not None:
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
        self.sockets.append(one)

    def _adopt(self, fd: int) -> None:
        try:
            one = socket.socket(fileno=fd)
        except OSError:
            raise ValueError(f"fd: {fd} is no socket") from None
        if one.type != socket.SOCK_STREAM or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            one.detach()
            raise ValueError(f"fd: {fd} is no socket that listens")
        one.set_inheritable(False)
        self.sockets.append(one)


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
