"""What the journeys of certificates share: the API, openssl(1), and the promise that
certificate, key and secret of one version belong together."""
import base64
import calendar
import hashlib
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from api import Api, Https  # noqa: E402
from dev import Dev  # noqa: E402,F401

PEM = "application/x-pem-file"
PFX = "application/x-pkcs12"
OPENSSL_ENV = {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def openssl(*args, stdin=b"", cwd=None):
    done = subprocess.run(["openssl", *map(str, args)], input=stdin, env=OPENSSL_ENV,
                          cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expect(done.returncode == 0, f"openssl {args}: {done.stderr.decode()}")
    return done.stdout


class Client:
    """The API of one vault; every call says what it expects."""

    def __init__(self, api, name):
        self.api = api
        self.name = name
        self.headers = {}  # of the last reply to call()

    def call(self, status, method, path, body=None):
        reply = self.api.send(method, path, body)
        self.headers = reply.headers
        expect(reply.status == status, f"{self.name}: {method} {path}: {reply.status}, "
               f"not {status}: {reply.json}")
        return reply.json

    def get(self, path):
        return self.call(200, "GET", path)

    def fails(self, status, error_id, method, path, body=None):
        reply = self.call(status, method, path, body)
        error = reply["error"]
        expect(error.get("id") == error_id,
               f"{self.name}: {method} {path} {body}: {error}, not {error_id}")
        expect(len(error["message"]) > 10, f"a message: {error}")
        return error

    def object(self, url):
        """What an id of this vault names."""
        return self.get("/" + url.split("/", 3)[3])

    def order(self, name, policy=None, **members):
        body = dict(members)
        if policy is not None:
            body["policy"] = policy
        return self.call(202, "POST", f"/certificates/{name}/create", body)

    def wait(self, name, seconds=30):
        """The operation when it has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            operation = self.get(f"/certificates/{name}/pending")
            if operation["status"] != "inProgress":
                expect("Retry-After" not in self.headers, "nothing to wait for")
                return operation
            expect(int(self.headers["Retry-After"]) > 0, "when to ask again")
            time.sleep(0.02)
        raise AssertionError(f"the order of {name} does not end")

    def create(self, name, policy=None, **members):
        self.order(name, policy, **members)
        operation = self.wait(name)
        expect(operation["status"] == "completed", f"{name}: {operation}")
        return self.get(f"/certificates/{name}")


def unix_client(dev):
    return Client(Api(dev.dir / "api.sock"), "api.sock")


def https_client(dev):
    return Client(Https(dev), "https")


def policy(key=None, subject="CN=a.example", **members):
    """A policy of the issuer Self; members replace its parts."""
    x509 = {"subject": subject, **members.pop("x509", {})}
    made = {"issuer": {"name": "Self"}, "x509_props": x509, **members}
    if key is not None:
        made["key_props"] = key
    return made


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def x509(der, *args):
    """Output of openssl x509 for a certificate."""
    return openssl("x509", "-inform", "DER", "-noout", *args, stdin=der).decode()


def spki(der):
    """The public key of a certificate, DER."""
    pem = openssl("x509", "-inform", "DER", "-pubkey", "-noout", stdin=der)
    return openssl("pkey", "-pubin", "-outform", "DER", stdin=pem)


def public_of(pem):
    """The public key of a private one, DER."""
    return openssl("pkey", "-pubout", "-outform", "DER", stdin=pem)


def blocks(pem):
    """Label and DER of each block of a PEM text."""
    found = []
    for line in pem.splitlines():
        if line.startswith("-----BEGIN "):
            label, text = line[11:-5], ""
        elif line.startswith("-----END "):
            found.append((label, base64.b64decode(text)))
        else:
            text += line
    return found


def open_pfx(value, password=""):
    """Private key (PEM, or None) and certificates (DER) of a PKCS#12 file in base64."""
    text = openssl("pkcs12", "-nodes", "-passin", "pass:" + password,
                   stdin=base64.b64decode(value, validate=True)).decode()
    return open_pem(clean(text))


def clean(text):
    """Only what stands between BEGIN and END."""
    kept, inside = [], False
    for line in text.splitlines():
        inside = inside or line.startswith("-----BEGIN ")
        if inside:
            kept.append(line)
        inside = inside and not line.startswith("-----END ")
    return "\n".join(kept)


def open_pem(value):
    key = [der for label, der in blocks(value) if label == "PRIVATE KEY"]
    certs = [der for label, der in blocks(value) if label == "CERTIFICATE"]
    expect(len(key) <= 1 and len(key) + len(certs) == len(blocks(value)), "known blocks")
    pem = openssl("pkey", "-inform", "DER", stdin=key[0]) if key else None
    return pem, certs


def check_jwk(jwk, public):
    """A JWK holds the public key `public` (DER)."""
    if jwk["kty"] == "RSA":
        pem = openssl("rsa", "-pubin", "-inform", "DER", "-modulus", "-noout", stdin=public)
        expect(int(pem.decode().split("=")[1], 16) == int.from_bytes(unb64url(jwk["n"]), "big"),
               "modulus")
    elif jwk["kty"] == "EC":
        point = unb64url(jwk["x"]) + unb64url(jwk["y"])
        expect(public.endswith(b"\x04" + point), "point")
    else:
        expect(jwk["kty"] == "OKP" and public.endswith(unb64url(jwk["x"])), "Ed25519")
    expect("d" not in jwk and "p" not in jwk, "no private part")


def check_secret(client, bundle, chain, exportable):
    """The secret in its own form and, when that is PKCS#12, as PEM."""
    sid = bundle["sid"]
    public = spki(chain[0])
    secret = client.object(sid)
    expect(secret["id"] == sid and secret["kid"] == bundle["kid"], "ids of the secret")
    expect(secret["managed"] is True, "managed secret")
    expect(secret["contentType"] == bundle["contentType"], "content type")
    path = "/" + sid.split("/", 3)[3] + "?outContentType=" + PEM
    as_pem = client.get(path)
    expect(as_pem["contentType"] == PEM, "converted to PEM")
    forms = [open_pem(as_pem["value"])]
    if secret["contentType"] == PFX:
        forms.append(open_pfx(secret["value"]))
    else:
        expect(secret["value"] == as_pem["value"], "PEM as it is")
    for key, certs in forms:
        expect(certs == chain, "the chain, leaf first")
        expect((key is not None) == exportable, f"private key there: {key is not None}")
        expect(key is None or public_of(key) == public, "key and certificate fit")
    return secret


def check_bundle(client, bundle, exportable=True):
    """Certificate, key and secret of one version belong together. Returns the leaf."""
    base, collection, name, version = bundle["id"].rsplit("/", 3)
    expect(collection == "certificates" and len(version) == 32, bundle["id"])
    expect(bundle["kid"] == f"{base}/keys/{name}/{version}", bundle["kid"])
    expect(bundle["sid"] == f"{base}/secrets/{name}/{version}", bundle["sid"])
    expect(bundle["policy"]["id"] == f"{base}/certificates/{name}/policy", "policy id")
    leaf = base64.b64decode(bundle["cer"], validate=True)
    expect(bundle["x5t"] == b64url(hashlib.sha1(leaf).digest()), "x5t")
    attributes = bundle["attributes"]
    for member, option in (("nbf", "-startdate"), ("exp", "-enddate")):
        text = x509(leaf, option).strip().split("=", 1)[1]
        expect(attributes[member] == time_of(text), f"{member} of the certificate")
    chain = [base64.b64decode(text, validate=True) for text in bundle["x5c"]]
    expect(chain[0] == leaf, "x5c begins with the leaf")
    key = client.object(bundle["kid"])
    expect(key["key"]["kid"] == bundle["kid"] and key["managed"] is True, "managed key")
    check_jwk(key["key"], spki(leaf))
    check_secret(client, bundle, chain, exportable)
    return leaf


def time_of(text):
    """Unix seconds of a date as openssl prints it."""
    return calendar.timegm(time.strptime(text, "%b %d %H:%M:%S %Y %Z"))
