"""Tokens of OpenID Connect issuers of keyvault.conf, each a server of this test.

    python3 tests/integration/api/oidc.py BUILD
"""
import hashlib
import hmac
import http.server
import json
import pathlib
import ssl
import sys
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
sys.path.insert(0, str(HERE.parent))
from api import Https  # noqa: E402
from dev import Dev  # noqa: E402
from jose import Openssl, b64, public_pem, signature_from_der  # noqa: E402

AUDIENCE = "api://vault"


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Issuer:
    """One issuer: https://localhost:PORT/NAME, with what a test makes it answer."""

    def __init__(self, servers, name, key):
        self.name, self.openssl, self.key = name, servers.openssl, key
        self.url = f"https://localhost:{servers.port}/{name}"
        self.kid = f"kid-{name}"
        self.metadata = {"issuer": self.url, "jwks_uri": self.url + "/keys"}
        self.location = None  # a redirect instead
        self.delay = 0        # seconds in front of the keys
        self.asked = []       # paths
        self.keys = [self.public(key, self.kid)]

    def public(self, key, kid):
        jwk = self.openssl.private_jwk(key)
        return {**{k: jwk[k] for k in ("kty", "crv", "x", "y")}, "kid": kid, "use": "sig"}

    def answer(self, path):
        self.asked.append(path)
        if self.location:
            return 302, b"", {"Location": self.location}
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps(self.metadata).encode(), {}
        if path == "/keys":
            time.sleep(self.delay)
            return 200, json.dumps({"keys": self.keys}).encode(), {
                "Cache-Control": "public, max-age=3600"}
        return 404, b"", {}

    def token(self, claims=None, header=None, key=None):
        now = int(time.time())
        head = {"alg": "ES256", "typ": "JWT", "kid": self.kid, **(header or {})}
        body = {"iss": self.url, "aud": AUDIENCE, "iat": now, "exp": now + 300,
                "oid": str(uuid.uuid4()), "azp": "client", "scp": "user", **(claims or {})}
        text = ".".join(b64(json.dumps({k: v for k, v in part.items() if v is not None}).encode())
                        for part in (head, body))
        der = self.openssl.run("dgst", "-sha256", "-sign", key or self.key,
                               self.openssl.write("text", text))
        return text + "." + b64(signature_from_der(der, 32))


class Servers:
    """All issuers behind one HTTPS server of a CA made here."""

    def __init__(self, work):
        self.openssl = Openssl(work)
        self.issuers = {}
        run = self.openssl.run
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "server.key", "-out", "server.crt", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost")
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "else.key", "-out", "else.crt", "-days", "2", "-subj", "/CN=else")
        servers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self):
                name, _, path = self.path[1:].partition("/")
                status, body, headers = servers.issuers[name].answer("/" + path)
                self.send_response(status)
                for header, value in headers.items():
                    self.send_header(header, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(work / "server.crt", work / "server.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, name):
        key = f"{name}.key"
        self.openssl.run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        self.issuers[name] = Issuer(self, name, key)
        return self.issuers[name]


def configure(dev, servers, work):
    names = ("corp", "other", "moved", "liar", "large", "strict")
    for name in names:
        servers.add(name)
    servers.issuers["corp"].delay = 1
    servers.issuers["moved"].location = servers.issuers["corp"].url
    servers.issuers["liar"].metadata["issuer"] = servers.issuers["corp"].url
    servers.issuers["large"].metadata["padding"] = "x" * 100000
    blocks = [f'oidc-issuer "{name}" {{\n  issuer = "{servers.issuers[name].url}"\n'
              f'  audience = "{AUDIENCE}"\n  ca-file = "{work / "server.crt"}"\n'
              f'{"  at-jwt = on" if name == "strict" else ""}\n}}\n' for name in names]
    servers.add("distrusted")
    blocks.append(f'oidc-issuer "distrusted" {{ issuer = "{servers.issuers["distrusted"].url}" '
                  f'audience = "{AUDIENCE}" }}\n')
    servers.add("elsewhere")
    blocks.append(f'oidc-issuer "elsewhere" {{ issuer = "{servers.issuers["elsewhere"].url}" '
                  f'audience = "{AUDIENCE}" ca-file = "{work / "else.crt"}" }}\n')
    dev.dir.mkdir(mode=0o711)
    (dev.dir / "keyvault.conf").write_text("".join(blocks))


def status(dev, token, path="/secrets"):
    api = Https(dev, token=token)
    reply = api.send("GET", path)
    api.close()
    return reply.status


def grant(dev, principal, role):
    dev.cli("access", "grant", principal, "--role", role)


def first_token(dev, servers):
    """The keys are not there yet when the first token comes: it waits for them."""
    corp = servers.issuers["corp"]
    expect(status(dev, corp.token()) == 403, "known, and without a role")
    expect(corp.asked == ["/.well-known/openid-configuration", "/keys"], corp.asked)


def callers(dev, servers):
    corp = servers.issuers["corp"]
    user = str(uuid.uuid4())
    grant(dev, f"user:{user}", "reader")
    expect(status(dev, corp.token({"oid": user})) == 200, "a user")
    expect(status(dev, corp.token({"oid": user.upper()})) == 200, "UUIDs have no case")
    expect(status(dev, corp.token({"oid": None, "sub": user})) == 200, "sub without oid")
    expect(status(dev, corp.token({"oid": None, "sub": None})) == 401, "nobody")
    grant(dev, "app:robot", "reader")
    alone = {"azp": "robot", "scp": None}
    expect(status(dev, corp.token({**alone, "idtyp": "app"})) == 200, "an application")
    expect(status(dev, corp.token({**alone, "oid": None, "sub": "robot"})) == 200, "by its sub")
    expect(status(dev, corp.token({"azp": "robot"})) == 403, "a user through it is not it")
    text = corp.token({"oid": None, "sub": "auth0|1234"})
    reply = Https(dev, token=text).send("GET", "/secrets")
    principal = next(word for word in reply.error("message").replace(";", " ").split()
                     if "user:" in word).strip("(),.;")
    grant(dev, principal[principal.index("user:"):], "reader")
    expect(status(dev, text) == 200, "a subject that is no UUID has one all the same")


def own_apps(dev, servers):
    """An issuer cannot speak for an application of the built-in authority."""
    app = json.loads(dev.cli("app", "create", "mine", "--role", "reader", "--json"))
    corp = servers.issuers["corp"]
    expect(status(dev, corp.token({"azp": app["clientId"], "idtyp": "app", "scp": None})) == 401,
           "not by that one")
    expect(status(dev, corp.token({"azp": app["clientId"]})) == 401, "nor for a user of it")
    user = json.loads(dev.cli("principal", "create", "me", "--role", "reader", "--json"))
    expect(status(dev, corp.token({"oid": user["objectId"]})) == 401, "nor for a user of ours")


def rules(dev, servers):
    corp, other = servers.issuers["corp"], servers.issuers["other"]
    user, now = str(uuid.uuid4()), int(time.time())
    grant(dev, f"user:{user}", "reader")

    def of(claims=None, header=None, key=None):
        return corp.token({"oid": user, **(claims or {})}, header, key)

    good = of()
    head, body, signature = good.split(".")
    pem = public_pem(corp.keys[0]).encode()
    hs = b64(json.dumps({"alg": "HS256", "kid": corp.kid}).encode()) + "." + body
    none = b64(json.dumps({"alg": "none", "kid": corp.kid}).encode()) + "." + body + "."
    jwk = {k: v for k, v in other.keys[0].items() if k != "kid"}
    expect(status(dev, good) == 200, "the good one")
    for what, token in {
            "another audience": of({"aud": "api://other"}),
            "no audience": of({"aud": None}),
            "an issuer that is not configured": of({"iss": corp.url + "/"}),
            "another issuer's name": of({"iss": other.url}),
            "expired": of({"iat": now - 600, "exp": now - 61}),
            "from the future": of({"nbf": now + 120}),
            "without an end": of({"exp": None}),
            "for two days": of({"exp": now + 2 * 86400}),
            "an end that is a text": of({"exp": str(now + 300)}),
            "no kid": of(None, {"kid": None}),
            "an unknown kid": of(None, {"kid": "x"}),
            "another key under our kid": of(None, None, other.key),
            "a key in the header": of(None, {"jwk": jwk}, other.key),
            "a set in the header": of(None, {"jku": other.url + "/keys", "kid": other.kid}, other.key),
            "crit": of(None, {"crit": ["exp"]}),
            "none": none,
            "HS256 with the public key": hs + "." + b64(hmac.new(pem, hs.encode(),
                                                                 hashlib.sha256).digest()),
            "a fourth part": good + ".x",
            "padding": good + "=",
    }.items():
        expect(status(dev, token) == 401, what)
    expect(status(dev, other.token({"oid": user})) == 200, "the other one has keys of its own")


def strict(dev, servers):
    issuer, user = servers.issuers["strict"], str(uuid.uuid4())
    grant(dev, f"user:{user}", "reader")
    expect(status(dev, issuer.token({"oid": user})) == 401, "no access token")
    expect(status(dev, issuer.token({"oid": user}, {"typ": "at+jwt"})) == 200, "an access token")


def not_to_be_had(dev, servers):
    """Redirects, other issuers' metadata, huge documents, unknown CAs: no keys."""
    for name in ("moved", "liar", "large", "distrusted", "elsewhere"):
        expect(status(dev, servers.issuers[name].token()) == 401, name)
    log = dev.log_text()
    expect(log.count("auth.issuer-unreachable") >= 5, "the log says why")
    expect("keys" not in "".join(servers.issuers["large"].asked), "nothing else was fetched")


def unknown_kids(dev, servers):
    """Tokens with made-up kids do not make us ask the issuer again and again."""
    corp = servers.issuers["corp"]
    before = len(corp.asked)
    for i in range(10):
        expect(status(dev, corp.token(None, {"kid": f"made-up-{i}"})) == 401, "no such key")
    expect(len(corp.asked) <= before + 2, corp.asked)


def issuer_away(dev, servers):
    servers.server.shutdown()
    expect(status(dev, servers.issuers["corp"].token()) == 403, "its keys are known")
    began = time.monotonic()
    expect(dev.stop() == 0 and time.monotonic() - began < 8, "a clean end, in time")


def main():
    dev = Dev(sys.argv[1])
    try:
        work = dev.work / "issuers"
        work.mkdir(mode=0o755)
        servers = Servers(work)
        configure(dev, servers, work)
        dev.start()
        for step in (first_token, callers, own_apps, rules, strict, not_to_be_had,
                     unknown_kids, issuer_away):
            step(dev, servers)
            print(f"ok {step.__name__}", flush=True)
    finally:
        dev.__exit__(None, None, None)


if __name__ == "__main__":
    main()
