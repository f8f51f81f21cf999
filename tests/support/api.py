"""A small client of the REST API over api.sock, for tests in Python."""
import http.client
import json
import socket


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=15):
        super().__init__("default.vault.localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Api:
    """One keep-alive connection; call() returns (status, parsed JSON or None)."""

    VERSION = "api-version=2025-07-01"

    def __init__(self, path):
        self.connection = UnixConnection(path)

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        path += ("&" if "?" in path else "?") + self.VERSION
        headers = {"Content-Type": "application/json"} if data is not None else {}
        self.connection.request(method, path, body=data, headers=headers)
        reply = self.connection.getresponse()
        text = reply.read()
        return reply.status, json.loads(text) if text else None

    def close(self):
        self.connection.close()
