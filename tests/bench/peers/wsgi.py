"""The same routes without those that await, for servers that run sync handlers by WSGI."""

TYPE = ("Content-Type", "application/json")


def app(environ, start_response):
    body = b'{"ok":true}'
    if environ["PATH_INFO"] == "/echo":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [TYPE, ("Content-Length", str(len(body)))])
    return [body]
