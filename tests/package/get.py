"""Serves one request to itself with the installed turbo_cffi."""

import http.client

import turbo_cffi

with turbo_cffi.Server(shards=2) as server:
    server.route("GET", "/users/{id}", lambda request: request.reply(200, b"user " + request.param("id"), "text/plain"))
    server.listen("127.0.0.1:0")
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/users/7")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"user 7")
    connection.close()
