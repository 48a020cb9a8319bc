"""Every route of the C demo over plain sockets, in each topology; standard library only.

usage: smoke.py DEMO
"""
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import unittest

DEMO = ""


class Demo:
    """A demo on a free port."""

    def __init__(self, *flags):
        self.process = subprocess.Popen([DEMO, "--port", "0", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = self.process.stdout.readline().decode()
        self.port = int(re.search(r"http://\S+:(\d+)", line).group(1))

    def request(self, method, target, body=None, headers=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        conn.request(method, target, body, headers or {})
        answer = conn.getresponse()
        data = answer.read()
        conn.close()
        return answer, data

    def raw(self, data):
        """Send bytes, end our side, read to the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            out = b""
            while True:
                piece = sock.recv(65536)
                if not piece:
                    return out
                out += piece

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, err.decode()


class Routes:
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.demo = Demo(*cls.flags)

    @classmethod
    def tearDownClass(cls):
        code, err = cls.demo.stop()
        assert code == 0, err
        assert "Sanitizer" not in err, err
        taken, answered, shed, dropped, abandoned = (
            int(n) for n in re.search(
                r"stopped: (\d+) requests taken, (\d+) answered, (\d+) shed, (\d+) dropped by clients, (\d+) abandoned",
                err).groups())
        assert taken == answered + shed + dropped + abandoned, err
        assert abandoned == 0, err

    def get(self, target, **more):
        return self.demo.request("GET", target, **more)

    def test_plain_routes(self):
        for target in ("/json", "/sync", "/async", "/sleep?ms=5"):
            answer, data = self.get(target)
            self.assertEqual((answer.status, data), (200, b'{"ok":true}'), target)
            self.assertEqual(answer.getheader("Content-Type"), "application/json")
            self.assertIsNotNone(answer.getheader("Date"))
        answer, data = self.get("/")
        self.assertIn(b"/reflect", data)

    def test_params_and_reflection(self):
        self.assertEqual(json.loads(self.get("/users/a%20b")[1]), {"id": "a b"})
        answer, data = self.demo.request("PUT", "/reflect?x=1", b"hi", {"X-One": "1"})
        seen = json.loads(data)
        self.assertEqual((seen["method"], seen["path"], seen["query"], seen["body"]), ("PUT", "/reflect", "x=1", "hi"))
        self.assertIn(["X-One", "1"], seen["headers"])

    def test_empty_and_failing(self):
        for target, status in (("/nothing", 204), ("/cached", 304), ("/fail", 500), ("/none", 404)):
            self.assertEqual(self.get(target)[0].status, status)
        answer, _ = self.demo.request("DELETE", "/json")
        self.assertEqual((answer.status, answer.getheader("Allow")), (405, "GET, HEAD, OPTIONS"))
        self.assertEqual(self.get("/big?bytes=x")[0].status, 400)

    def test_head(self):
        answer, data = self.demo.request("HEAD", "/big?bytes=5000")
        self.assertEqual((answer.status, answer.getheader("Content-Length"), data), (200, "5000", b""))

    def test_bodies(self):
        for size in (0, 1, 4096, 4097, 100_000, 3_000_000):
            body = bytes(i % 251 for i in range(size))
            answer, data = self.demo.request("POST", "/echo", body, {"Content-Type": "x/y"})
            self.assertEqual((answer.status, answer.getheader("Content-Type")), (200, "x/y"))
            self.assertEqual(data, body)
            answer, data = self.demo.request("POST", "/echo", iter([body[:size // 2], body[size // 2:]]))
            self.assertEqual(data, body)
        self.assertEqual(len(self.get("/big?bytes=67108864")[1]), 67108864)
        self.assertEqual(self.demo.request("POST", "/reflect", b"x" * 1048577)[0].status, 413)
        self.assertEqual(self.demo.request("POST", "/reflect", b"x" * 1048576)[0].status, 200)

    def test_stream(self):
        answer, data = self.get("/stream?chunks=300&bytes=5000")
        self.assertEqual(answer.getheader("Transfer-Encoding"), "chunked")
        self.assertEqual(len(data), 1_500_000)
        out = self.demo.raw(b"GET /stream?chunks=3&bytes=10 HTTP/1.0\r\n\r\n")
        self.assertNotIn(b"chunked", out)
        self.assertTrue(out.endswith(b"\r\n\r\n" + bytes(30)), out)

    def test_pipelined_answers_in_order(self):
        ids = [str(i) for i in range(200)]
        wire = b"".join(
            b"GET /sleep?ms=%d HTTP/1.1\r\nHost: x\r\n\r\nGET /users/%s HTTP/1.1\r\nHost: x\r\n\r\n" % (i % 7, n.encode())
            for i, n in enumerate(ids))
        out = self.demo.raw(wire)
        self.assertEqual(re.findall(rb'{"id":"(\d+)"}', out), [n.encode() for n in ids])
        self.assertEqual(out.count(b"HTTP/1.1 200 OK"), 400)

    def test_bad_request_behind_good_ones(self):
        out = self.demo.raw(b"GET /sleep?ms=20 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n bad\r\n\r\nGET /users/9 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(re.findall(rb"HTTP/1.1 (\d+)", out), [b"200", b"400"])
        self.assertEqual(out.count(b"Date: "), 2)

    def test_refusals(self):
        for wire, status in (
            (b"GET / HTTP/1.1\r\n\r\n", b"400"),
            (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", b"505"),
            (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
            (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 65536 + b"\r\n\r\n", b"431"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n", b"431"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"501"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
            (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\nx", b"400"),
        ):
            out = self.demo.raw(wire)
            self.assertEqual(out[9:12], status, wire[:60])
            self.assertIn(b"Connection: close", out)

    def test_continue(self):
        with socket.create_connection(("127.0.0.1", self.demo.port), timeout=20) as sock:
            sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual(sock.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            sock.sendall(b"ok")
            self.assertTrue(sock.recv(4096).endswith(b"\r\n\r\nok"))

    def test_batch(self):
        out = self.demo.raw(b"POST /batch HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" * 8)
        sizes = [int(n) for n in re.findall(rb'{"batch":(\d+)}', out)]
        self.assertEqual(len(sizes), 8)

    def test_stats(self):
        self.assertIn("shards", json.loads(self.get("/stats")[1]))
        self.assertIn(b"# TYPE turbo_taken_total counter", self.get("/metrics")[1])


class Default(Routes, unittest.TestCase):
    flags = ("--shards", "3")


class Inline(Routes, unittest.TestCase):
    flags = ("--executor", "inline", "--io-threads", "2")


class OwnIo(Routes, unittest.TestCase):
    flags = ("--io-threads", "0", "--shards", "2")


class OwnIoRoundRobin(Routes, unittest.TestCase):
    flags = ("--io-threads", "0", "--shards", "3", "--placement", "round_robin")


class Life(unittest.TestCase):
    def test_head_timeout_is_408(self):
        demo = Demo("--head-timeout-ms", "200")
        with socket.create_connection(("127.0.0.1", demo.port), timeout=20) as sock:
            sock.sendall(b"GET / HT")
            self.assertEqual(sock.recv(4096)[9:12], b"408")
        self.assertEqual(demo.stop()[0], 0)

    def test_full_queue_sheds_and_loses_nothing(self):
        demo = Demo("--shards", "1", "--queue-max", "5", "--batch-max", "1")
        out = demo.raw(b"GET /block?ms=20 HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
        codes = re.findall(rb"HTTP/1.1 (\d+)", out)
        self.assertEqual(len(codes), 40)
        self.assertIn(b"503", codes)
        self.assertIn(b"Retry-After: 1", out)
        stats = json.loads(demo.request("GET", "/stats")[1])
        self.assertEqual(stats["shed"], codes.count(b"503"))
        self.assertEqual(demo.stop()[0], 0)

    def test_sigterm_answers_what_was_sent(self):
        demo = Demo("--shards", "2")
        socks = [socket.create_connection(("127.0.0.1", demo.port), timeout=20) for _ in range(40)]
        for sock in socks:
            sock.sendall(b"GET /sleep?ms=100 HTTP/1.1\r\nHost: x\r\n\r\n")
        demo.process.send_signal(signal.SIGTERM)
        for sock in socks:
            data = b""
            while True:
                piece = sock.recv(4096)
                if not piece:
                    break
                data += piece
            self.assertIn(b"200 OK", data)
            self.assertTrue(data.endswith(b'{"ok":true}'))
            sock.close()
        demo.process.communicate(timeout=20)
        self.assertEqual(demo.process.returncode, 0)

    def test_address_in_use_is_said(self):
        demo = Demo()
        other = subprocess.run([DEMO, "--port", str(demo.port), "--io-threads", "2"], capture_output=True, timeout=20)
        self.assertEqual(other.returncode, 1)
        self.assertIn(b"in use", other.stderr)
        self.assertEqual(demo.stop()[0], 0)

    def test_bad_setting_is_named(self):
        bad = subprocess.run([DEMO, "--batch-max", "0"], capture_output=True, timeout=20)
        self.assertEqual(bad.returncode, 2)
        self.assertIn(b"batch_max", bad.stderr)

    def test_hot_route_spills_only_when_allowed(self):
        for flags, low, high in ((("--spill-percent", "0"), 1, 1), ((), 6, 14)):
            demo = Demo("--shards", "14", *flags)
            threads = [threading.Thread(target=lambda: [demo.request("GET", "/block?ms=1") for _ in range(20)])
                       for _ in range(40)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            used = sum(s["requests"] > 0 for s in json.loads(demo.request("GET", "/stats")[1])["shards"])
            self.assertTrue(low <= used <= high, (flags, used))
            self.assertEqual(demo.stop()[0], 0)


if __name__ == "__main__":
    DEMO = sys.argv.pop(1)
    unittest.main()
