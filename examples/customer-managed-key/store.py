#!/usr/bin/python3
"""A store whose data is sealed under a key that its customer holds in a vault.

    store.py DIR put NAME < FILE       store.py DIR get NAME > FILE
    store.py DIR status                store.py DIR shell

The data is sealed with a data key (AES-256-GCM). The data key itself lies in
DIR/data-key.json, wrapped by the customer's key: only the vault can unwrap it, and only
while the customer lets it. So the customer can

  rotate:   a new version of the key wraps the data key from the next renewal on,
            without anything being sealed anew;
  cut off:  with the key disabled, deleted or the right revoked, the store is blind
            as soon as its copy of the data key is over.

A copy of the unwrapped data key lives in memory for CMK_CACHE_S seconds (300).

Environment: KEYVAULT_URL, KEYVAULT_CA, KEYVAULT_AUTHORITY, CMK_KEY (name of the key), and
AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET of an application that has the role
crypto-service-encryption-user on the key: read, wrap, unwrap, no more.
"""
import base64
import http.client
import json
import os
import pathlib
import socket
import ssl
import sys
import time
import urllib.parse

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ALG = "RSA-OAEP-256"
API = "api-version=2025-07-01"


class Refused(Exception):
    """The vault said no; the data stays sealed."""


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Connection(http.client.HTTPSConnection):
    """HTTPS; *.localhost is this machine, which not every resolver knows."""

    def connect(self):
        host = "127.0.0.1" if self.host.endswith("localhost") else self.host
        plain = socket.create_connection((host, self.port), self.timeout)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)


def call(method, url, body=None, headers=(), form=False):
    """One request; (status, JSON)."""
    parts = urllib.parse.urlsplit(url)
    tls = ssl.create_default_context(cafile=os.environ.get("KEYVAULT_CA"))
    connection = Connection(parts.hostname, parts.port or 443, timeout=10, context=tls)
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    data = None
    if body is not None:
        data = (urllib.parse.urlencode(body) if form else json.dumps(body)).encode()
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), data,
                           {**dict(headers), **({"Content-Type": kind} if data else {})})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read() or b"{}")
    finally:
        connection.close()


class Vault:
    """The customer's key, as this application may use it."""

    def __init__(self, env):
        self.url = env["KEYVAULT_URL"]
        self.name = env["CMK_KEY"]
        self.env = env
        self.token = None
        self.token_until = 0

    def sign_in(self):
        if time.time() < self.token_until:
            return
        status, answer = call(
            "POST", f"{self.env['KEYVAULT_AUTHORITY']}/{self.env['AZURE_TENANT_ID']}/oauth2/v2.0/token",
            {"grant_type": "client_credentials", "client_id": self.env["AZURE_CLIENT_ID"],
             "client_secret": self.env["AZURE_CLIENT_SECRET"], "scope": self.scope()}, form=True)
        if status != 200:
            raise Refused(f"sign-in: {answer.get('error_description', status)}")
        self.token = answer["access_token"]
        self.token_until = time.time() + answer["expires_in"] - 60

    def scope(self):
        """The domain of the vault is what tokens are for."""
        return f"https://{urllib.parse.urlsplit(self.url).hostname.split('.', 1)[1]}/.default"

    def ask(self, method, url, body=None):
        self.sign_in()
        status, answer = call(method, f"{url}?{API}", body, {"Authorization": f"Bearer {self.token}"})
        if status != 200:
            error = answer.get("error", {})
            raise Refused(f"the vault answers {status}: {error.get('message', 'no reason')}")
        return answer

    def current(self):
        """The id of the newest version."""
        return self.ask("GET", f"{self.url}/keys/{self.name}")["key"]["kid"]

    def wrap(self, kid, data_key):
        return decode(self.ask("POST", f"{kid}/wrapkey", {"alg": ALG, "value": encode(data_key)})["value"])

    def unwrap(self, kid, wrapped):
        return decode(self.ask("POST", f"{kid}/unwrapkey", {"alg": ALG, "value": encode(wrapped)})["value"])


class Store:
    def __init__(self, directory, vault, cache_s):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.envelope = self.dir / "data-key.json"
        self.vault = vault
        self.cache_s = cache_s
        self.key = None
        self.key_until = 0

    def write(self, path, data):
        """Whole or not at all."""
        temporary = path.with_suffix(".new")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)

    def wrap(self, data_key, kid):
        wrapped = self.vault.wrap(kid, data_key)
        self.write(self.envelope, json.dumps(
            {"kid": kid, "alg": ALG, "value": encode(wrapped)}).encode())

    def renew(self):
        """Unwrap the data key; wrap it again when the customer has rotated his key."""
        self.key = None
        newest = self.vault.current()
        if not self.envelope.exists():
            data_key = os.urandom(32)
            self.wrap(data_key, newest)
        else:
            envelope = json.loads(self.envelope.read_text())
            data_key = self.vault.unwrap(envelope["kid"], decode(envelope["value"]))
            if envelope["kid"] != newest:
                self.wrap(data_key, newest)
        self.key = AESGCM(data_key)
        self.key_until = time.monotonic() + self.cache_s

    def data_key(self):
        if self.key is None or time.monotonic() >= self.key_until:
            self.renew()
        return self.key

    def path(self, name):
        if not name.isalnum():
            raise ValueError(f"no name for a record: {name}")
        return self.dir / f"{name}.sealed"

    def put(self, name, data):
        nonce = os.urandom(12)
        self.write(self.path(name), nonce + self.data_key().encrypt(nonce, data, name.encode()))

    def get(self, name):
        sealed = self.path(name).read_bytes()
        return self.data_key().decrypt(sealed[:12], sealed[12:], name.encode())

    def status(self):
        if not self.envelope.exists():
            return "no data key yet"
        return "wrapped by " + json.loads(self.envelope.read_text())["kid"]


def run(store, words, data):
    """One command; the bytes to print."""
    if words[0] == "put" and len(words) == 2:
        store.put(words[1], data)
        return b""
    if words[0] == "get" and len(words) == 2:
        return store.get(words[1])
    if words == ["status"]:
        return store.status().encode() + b"\n"
    raise ValueError(f"no command: {' '.join(words)}")


def shell(store):
    """Commands from standard input, one a line; "put NAME TEXT"."""
    for line in sys.stdin:
        words = line.split()
        try:
            result = run(store, words[:2], " ".join(words[2:]).encode()).decode().strip()
            print("ok", result, flush=True)
        except (Refused, ValueError, OSError, InvalidTag) as error:
            print("failed", error, flush=True)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    store = Store(sys.argv[1], Vault(os.environ), float(os.environ.get("CMK_CACHE_S", "300")))
    if sys.argv[2] == "shell":
        shell(store)
        return
    try:
        data = sys.stdin.buffer.read() if sys.argv[2] == "put" else b""
        sys.stdout.buffer.write(run(store, sys.argv[2:], data))
    except (Refused, ValueError, OSError, InvalidTag) as error:
        sys.exit(f"store: {error or 'the record is damaged'}")


if __name__ == "__main__":
    main()
