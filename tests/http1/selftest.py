#!/usr/bin/env python3
"""The battery's own test: a server that answers as it is told, and cases that must see through it."""

import socket
import socketserver
import threading
import unittest
from typing import Callable, Optional, Sequence

from answers import ResponseStream
import conformance
import replay
import wire
from battery import OK_BODY, judge
from model import (MUST, OK, Await, EndSending, Outcomes, R, Send, Splits, Step, Topic, answers, no_interim,
    one_interim, refuses, req, says_close)
from unread import unread
from wire import Wire

wire.ANSWER_LIMIT = replay.LIMIT = 2.0  # nothing here is slow

DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
OPEN = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + OK_BODY
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\n" + OK_BODY
BAD = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Script:
    """Takes one connection; sends each text when another request has come (or at once), then ends or stays."""

    def __init__(self, texts: Sequence[bytes], end: bool) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.thread = threading.Thread(target=self._serve, args=(list(texts), end), daemon=True)
        self.thread.start()

    def _serve(self, texts: Sequence[bytes], end: bool) -> None:
        connection, _ = self.listener.accept()
        with connection:
            for text in texts:
                if not connection.recv(65536):
                    return
                connection.sendall(text)
            if end:
                connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    def close(self) -> None:
        self.thread.join(20)
        self.listener.close()


def verdict(texts: Sequence[bytes], end: bool, outcomes: Outcomes, steps: Sequence[Step] = (Send(req("/json")),),
    method: str = "GET") -> Optional[str]:
    topic = Topic("self", "")
    topic.add("case", MUST, steps, outcomes, methods=[method])
    server = Script(texts, end)
    connection = Wire(server.address, topic.cases[0].methods)
    try:
        return judge(topic.cases[0], connection)
    finally:
        connection.close()
        server.close()


class Judging(unittest.TestCase):
    def test_open_is_probed(self) -> None:
        self.assertIsNone(verdict([OPEN, OPEN], False, answers(OK)))
        self.assertIn("was ended", verdict([OPEN], True, answers(OK)) or "")
        self.assertIn("further request", verdict([OPEN, BAD], False, answers(OK)) or "")

    def test_closed_is_waited_for(self) -> None:
        self.assertIsNone(verdict([CLOSE], True, answers(OK, end="closed")))
        self.assertIn("not ended", verdict([OPEN], False, answers(OK, end="closed")) or "")
        self.assertIn("did not close", verdict([CLOSE], False, answers(OK, end="any")) or "")

    def test_responses_are_counted(self) -> None:
        self.assertIn("2 responses, not 1", verdict([OPEN + OPEN], True, answers(OK, end="any")) or "")
        self.assertIn("1 responses, not 2", verdict([OPEN], True, answers(OK, OK, end="any")) or "")
        self.assertIn("another one followed", verdict([CLOSE + OPEN], True, answers(OK, OK, end="any")) or "")
        self.assertIn("200, not 400", verdict([OPEN], True, refuses(400)) or "")

    def test_alternatives(self) -> None:
        either = answers(OK) + refuses(400, silent=True)
        self.assertIsNone(verdict([OPEN, OPEN], False, either))
        self.assertIsNone(verdict([BAD], True, either))
        self.assertIsNone(verdict([b""], True, either))
        self.assertIsNotNone(verdict([OPEN], True, either))
        self.assertIsNotNone(verdict([BAD + OPEN], True, either))
        self.assertIsNotNone(verdict([b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"], True, either))

    def test_stray_bytes(self) -> None:
        for text in (OPEN + b"x", OPEN + b"\r\n", b"\r\n" + OPEN, b"hello"):
            self.assertIn("malformed", verdict([text], True, answers(OK, end="any")) or "", text)
        head = OPEN
        self.assertIn("malformed", verdict([head], True, answers(OK, end="any"), (Send(req("/json", "HEAD")),),
            "HEAD") or "")

    def test_interim(self) -> None:
        both = b"HTTP/1.1 100 Continue\r\n\r\n" + OPEN
        self.assertIsNone(verdict([both], True, answers(R(200, one_interim), end="any")))
        self.assertIsNotNone(verdict([both], True, answers(R(200, no_interim), end="any")))
        self.assertIsNotNone(verdict([OPEN], True, answers(R(200, one_interim), end="any")))
        self.assertIsNotNone(verdict([OPEN], True, answers(R(200, says_close), end="any")))

    def test_steps(self) -> None:
        self.assertIsNone(verdict([OPEN, OPEN], True, answers(OK, OK, end="closed"),
            (Send(req("/a")), Await(1), Send(req("/b")), Await(2), EndSending())))
        self.assertIn("cut behind", verdict([b"", BAD], True, answers(OK, end="any"), (Splits(b"GET"),)) or "")


class Reading(unittest.TestCase):
    def fault(self, text: bytes, method: str = "GET") -> Optional[str]:
        for size in (len(text), 1):
            stream = ResponseStream([method])
            for i in range(0, len(text), size):
                stream.feed(text[i : i + size])
            stream.end()
        return stream.error

    def test_good(self) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: 1\r\n\r\n"
        for text in (OPEN, OPEN * 2, chunked, b"HTTP/1.0 200 \r\n\r\nrest", b"HTTP/1.1 204 No Content\r\n" + DATE +
            b"\r\n", b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n"):
            self.assertIsNone(self.fault(text), text)
        self.assertIsNone(self.fault(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"))

    def test_bad(self) -> None:
        for head, body in (
            (b"HTTP/1.1 200", b""), (b"HTTP/2.0 200 OK", b""), (b"HTTP/1.1 20 OK", b""), (b"HTTP/1.1  200 OK", b""),
            (b"http/1.1 200 OK", b""),
            (b"HTTP/1.1 200 OK\r\nX : 1", b""), (b"HTTP/1.1 200 OK\r\n X: 1", b""),
            (b"HTTP/1.1 200 OK\r\nX: \x01", b""), (b"HTTP/1.1 200 OK\nX: 1", b""),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1", b"a"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: +1", b"a"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5", b"a"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
            (b"HTTP/1.1 204 x\r\nContent-Length: 0", b""), (b"HTTP/1.1 100 x\r\nContent-Length: 0", b""),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", b""),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"3\r\nabcd\r\n0\r\n\r\n"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"3\r\nabc\r\n"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"x\r\n\r\n"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"0\r\nX\r\n\r\n"),
            (b"HTTP/1.1 304 x\r\nContent-Length: 1", b"a"), (b"HTTP/1.1 204 x", b"a"),
        ):
            self.assertIsNotNone(self.fault(head + b"\r\n\r\n" + body), head)


GOOD_CASE = "good\n> GET / HTTP/1.1\\r\\n\n> Host: h\\r\\n\n> \\r\\n\nbegin\nhead GET / HTTP/1.1\nfield Host: h\nend\n"
BAD_CASE = "bad\n> GET /\\r\\n\n> Host: h\\r\\n\n> \\r\\n\nbegin\nerror 400\n"
CUT_CASE = "cut\n> GET / HTTP/1.1\\r\\n\nbegin\nmore\n"


class Replay(unittest.TestCase):
    """replay.py against servers that mind how a request was cut, by the size of what they read first."""

    def differences(self, text: str, answer: Callable[[int], bytes], ends: Callable[[int], bool]) -> int:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data = self.request.recv(65536)
                first = len(data)
                while not data.endswith(b"\r\n\r\n"):
                    more = self.request.recv(65536)
                    data += more
                    if not more:
                        return
                self.request.sendall(answer(first))
                if ends(first):
                    return
                while self.request.recv(65536):
                    self.request.sendall(OPEN)  # to the probe

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            server.handle_error = lambda *_: None  # connections are reset by the client
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            counts = replay.Counts()
            replay.run_cases(server.server_address, [conformance.read_case("self", text)], counts, show=False)
            server.shutdown()
            thread.join()
        self.assertEqual(counts.connections, counts.cuts + 2)
        return counts.differences

    def test_the_same_for_every_cut(self) -> None:
        self.assertEqual(self.differences(GOOD_CASE, lambda first: OPEN, lambda first: False), 0)
        self.assertEqual(self.differences(BAD_CASE, lambda first: BAD, lambda first: True), 0)
        self.assertEqual(self.differences(CUT_CASE, lambda first: OPEN, lambda first: True), 0)

    def test_the_same_wrong_thing_for_every_cut(self) -> None:
        runs = len("GET /\r\nHost: h\r\n\r\n") + 1
        for text in (b"", BAD + b"HTTP/1.1 2", BAD[:-2], BAD.replace(b"Connection: close\r\n", b"")):
            self.assertEqual(self.differences(BAD_CASE, lambda first: text, lambda first: True), runs, text)

    def test_one_cut_that_differs(self) -> None:
        other = OPEN.replace(b"OK", b"Fine")
        self.assertEqual(self.differences(GOOD_CASE, lambda first: BAD if first == 5 else OPEN,
            lambda first: first == 5), 1)
        self.assertEqual(self.differences(GOOD_CASE, lambda first: other if first == 7 else OPEN, lambda _: False), 1)
        self.assertEqual(self.differences(GOOD_CASE, lambda first: OPEN, lambda first: first == 9), 1)
        self.assertEqual(self.differences(BAD_CASE, lambda first: BAD, lambda first: first != 3), 1)
        self.assertEqual(self.differences(BAD_CASE, lambda first: BAD + OPEN if first == 3 else BAD, lambda _: True), 1)

    def test_unread_counts_bytes(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)) as client:
                self.assertEqual(unread(port), 0)
                client.sendall(b"12345")
                self.assertEqual(unread(port), 5)
                server, _ = listener.accept()
                with server:
                    self.assertEqual(server.recv(2), b"12")
                    self.assertEqual(unread(port), 3)
                    self.assertEqual(server.recv(9), b"345")
                    self.assertEqual(unread(port), 0)


if __name__ == "__main__":
    unittest.main()
