"""Small clients of the REST API, for tests in Python: over api.sock and over HTTPS."""
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
    """HTTPS to a vault's host name, which is this machine whatever the resolver says."""

    def __init__(self, host, port, context, timeout=60, source=None):
        super().__init__(host, port, context=context, timeout=timeout)
        self.tls = context
        self.source = source

    def connect(self):
        source = (self.source, 0) if self.source else None
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout, source)
        self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)


class Reply:
    """Status, headers, and the body: raw and as JSON (None: no body)."""

    def __init__(self, reply):
        self.status = reply.status
        self.headers = reply.headers
        self.body = reply.read()
        self.json = json.loads(self.body) if self.body else None

    def error(self, field):
        """"code", "id", "message" of an error; "inner" is the inner code."""
        error = (self.json or {}).get("error") or {}
        if field == "inner":
            return (error.get("innererror") or {}).get("code")
        return error.get(field)


class Api:
    """One keep-alive connection; call() returns (status, parsed JSON or None)."""

    VERSION = "api-version=2025-07-01"

    def __init__(self, path):
        self.connection = UnixConnection(path)
        self.token = None

    def send(self, method, path, body=None, headers=None, version=VERSION):
        """One request. `body`: bytes, an iterator of them (sent in chunks), or anything
        that JSON can say. A Reply."""
        is_raw = body is None or isinstance(body, bytes) or hasattr(body, "__next__")
        data = body if is_raw else json.dumps(body).encode()
        if version:
            path += ("&" if "?" in path else "?") + version
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if self.token:
            sent["Authorization"] = "Bearer " + self.token
        sent.update(headers or {})
        sent = {name: value for name, value in sent.items() if value is not None}
        try:
            self.connection.request(method, path, body=data, headers=sent)
            return Reply(self.connection.getresponse())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise

    def call(self, method, path, body=None):
        reply = self.send(method, path, body)
        return reply.status, reply.json

    def close(self):
        self.connection.close()


class Https(Api):
    """The same over HTTPS, with the token of DIR/env (`dev` is a dev.Dev)."""

    def __init__(self, dev, token=True, host=None, source=None):
        url = urllib.parse.urlsplit(dev.env["KEYVAULT_URL"])
        self.context = ssl.create_default_context(cafile=dev.env["KEYVAULT_CA"])
        self.connection = LoopbackConnection(host or url.hostname, url.port, self.context,
                                             source=source)
        self.token = dev.env["KEYVAULT_TOKEN"] if token is True else token
