"""What the tests of this folder share: the vault, its credentials, and small helpers."""
import logging
import secrets
import socket
import time

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.keyvault.certificates import CertificateClient
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient
from azure.keyvault.secrets import SecretClient

logging.getLogger("azure").setLevel(logging.CRITICAL)
system_lookup = socket.getaddrinfo


def lookup(host, port, *args, **kwargs):
    """*.vault.localhost is this machine; plain glibc does not know that."""
    if str(host).endswith(".localhost"):
        host = "127.0.0.1"
    return system_lookup(host, port, *args, **kwargs)


socket.getaddrinfo = lookup


class Token:
    """The token that --dev made; `asked` is what the packages read from the challenge."""

    def __init__(self, value):
        self.value = value
        self.asked = []

    def get_token(self, *scopes, **kwargs):
        self.asked.append((scopes, kwargs.get("tenant_id")))
        return AccessToken(self.value, int(time.time()) + 3600)


class Vault:
    def __init__(self, dev):
        self.dev = dev
        self.url = dev.env["KEYVAULT_URL"]
        self.tenant = dev.env["KEYVAULT_TENANT"]
        self.work = dev.work
        self.credential = Token(dev.env["KEYVAULT_TOKEN"])
        self.keys = self.client(KeyClient)
        self.secrets = self.client(SecretClient)
        self.certificates = self.client(CertificateClient)

    def client(self, kind, credential=None, url=None, **kwargs):
        return kind(url or self.url, credential or self.credential,
                    connection_verify=self.dev.env["KEYVAULT_CA"], **kwargs)

    def crypto(self, key):
        return CryptographyClient(key, self.credential,
                                  connection_verify=self.dev.env["KEYVAULT_CA"])

    def openssl(self, *args):
        self.dev.run("env", "-u", "OPENSSL_CONF", "openssl", *args, cwd=self.work)

    def read(self, name):
        return (self.work / name).read_bytes()


def fresh(prefix):
    """A name that no other test uses."""
    return f"{prefix}-{secrets.token_hex(5)}"


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


def refused(status, code, function, *args, **kwargs):
    """The call fails with this status and code, and with a sentence."""
    try:
        result = function(*args, **kwargs)
        if hasattr(result, "__next__"):
            next(result)
    except HttpResponseError as error:
        equal(error.status_code, status, str(error))
        equal(error.error.code, code, str(error))
        if " " not in error.error.message:
            raise AssertionError(f"no sentence: {error.error.message}") from error
        return error
    raise AssertionError(f"{function.__name__} succeeded")
