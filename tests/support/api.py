"""A small client of the REST API, for tests in Python: over api.sock or HTTPS."""
import http.client
import json
import socket
import ssl
import urllib.parse


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=15):
        super().__init__("default.vault.localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class LoopbackConnection(http.client.HTTPSConnection):
    """HTTPS to a name that need not resolve: it stands for the loopback address."""

    def __init__(self, url, ca, timeout=15):
        host = urllib.parse.urlsplit(url)
        self.context = ssl.create_default_context(cafile=ca)
        super().__init__(host.hostname, host.port, timeout=timeout, context=self.context)

    def connect(self):
        self.sock = self.context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), self.timeout),
            server_hostname=self.host)


class Api:
    """One keep-alive connection; call() returns (status, parsed JSON or None), and
    leaves the reply's headers in `headers`."""

    VERSION = "api-version=2025-07-01"

    def __init__(self, path=None, connection=None, token=None):
        self.connection = connection or UnixConnection(path)
        self.token = token
        self.headers = {}

    @classmethod
    def https(cls, env):
        """`env` is what DIR/env exports."""
        connection = LoopbackConnection(env["KEYVAULT_URL"], env["KEYVAULT_CA"])
        return cls(connection=connection, token=env["KEYVAULT_TOKEN"])

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        path += ("&" if "?" in path else "?") + self.VERSION
        headers = {"Content-Type": "application/json"} if data is not None else {}
        if self.token is not None:
            headers["Authorization"] = "Bearer " + self.token
        self.connection.request(method, path, body=data, headers=headers)
        reply = self.connection.getresponse()
        text = reply.read()
        self.headers = reply.headers
        return reply.status, json.loads(text) if text else None

    def close(self):
        self.connection.close()
