"""What is left of secrets in the memory of keyvault-service when a request is over: nothing.

    python3 tests/integration/api/residue.py BUILD      (reads memory: root only)
"""
import os
import pathlib
import secrets
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from api import Api, Https  # noqa: E402
from dev import Dev, wait_for  # noqa: E402
from jose import Openssl, b64, unb64  # noqa: E402

PIECE = 24  # bytes of a secret that are looked for


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def memory(pid):
    """The readable mappings of a process."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, mode = line.split()[:2]
            if "r" not in mode or "[v" in line:
                continue
            begin, end = (int(part, 16) for part in span.split("-"))
            try:
                mem.seek(begin)
                yield mem.read(end - begin)
            except OSError:
                continue


def found(pid, needles):
    return sorted({name for part in memory(pid) for name, needle in needles.items()
                   if needle in part})


def ok(reply):
    expect(reply.status == 200, f"{reply.status}: {reply.body[:300]}")
    return reply.json


def use_secrets(api, jwk):
    """Each way in which a secret passes; the pieces to look for afterwards."""
    value, plain = secrets.token_hex(40), secrets.token_bytes(60)
    ok(api.send("PUT", "/secrets/r", {"value": value}))
    expect(ok(api.send("GET", "/secrets/r"))["value"] == value, "the value")
    ok(api.send("GET", "/secrets/r/versions"))
    ok(api.send("PUT", "/keys/r", {"key": jwk}))
    ok(api.send("POST", "/keys/r//sign", {"alg": "RS256", "value": "A" * 43}))
    encrypted = ok(api.send("POST", "/keys/r//encrypt", {
        "alg": "RSA-OAEP", "value": b64(plain)}))["value"]
    expect(ok(api.send("POST", "/keys/r//decrypt", {
        "alg": "RSA-OAEP", "value": encrypted}))["value"] == b64(plain), "plaintext")
    # refused, broken and abandoned requests pass through other code
    api.send("PUT", "/secrets/under_score", {"value": value})
    api.send("PUT", "/secrets/r", {"value": value, "tags": 1})
    api.send("PUT", "/secrets/r", b'{"value":"' + value.encode() + b'"')
    api.send("PUT", "/keys/r", {"key": {**jwk, "qi": jwk["dp"]}})
    api.send("GET", "/secrets/r", headers={"Authorization": "Bearer " + value})
    needles = {"value": value.encode()[8:8 + PIECE], "plaintext": plain[:PIECE],
               "plaintext in base64": b64(plain).encode()[:PIECE]}
    for field in ("d", "p", "q", "dp", "dq", "qi"):
        raw = unb64(jwk[field])
        needles[field + " in base64"] = jwk[field].encode()[8:8 + PIECE]
        needles[field] = raw[8:8 + PIECE]
        needles[field + " reversed"] = raw[::-1][8:8 + PIECE]
    return needles


def leave(dev, value):
    """Clients that end in the middle of a body that holds a secret."""
    for _ in range(20):
        api = Https(dev)
        api.connection.connect()
        api.connection.sock.sendall(
            f"PUT /secrets/r?{Api.VERSION} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
            f"{api.token}\r\nContent-Length: 500\r\n\r\n{{\"value\":\"{value}".encode())
        api.close()


def main():
    service = pathlib.Path(sys.argv[1]) / "keyvault-service"
    if os.geteuid() != 0 or b"__asan_init" in service.read_bytes():
        print("root only, and not where a quarantine keeps what was freed")
        sys.exit(77)  # skipped
    with Dev(sys.argv[1]) as dev:
        openssl = Openssl(dev.work)
        openssl.run("genrsa", "-out", "r.pem", "2048")
        jwk = openssl.private_jwk("r.pem")
        for _ in range(2):  # the second start finds the token in its file
            pid = dev.role_pid("keyvault-service")
            expect(found(pid, {"domain": b"vault.localhost"}), "the scan sees memory")
            for api in (Https(dev), Api(dev.dir / "api.sock")):
                needles = use_secrets(api, jwk)
                needles["token"] = dev.env["KEYVAULT_TOKEN"].encode()
                # a reply is on its way a moment before its request has ended
                wait_for("nothing is left", lambda: not found(pid, needles), 3)
                api.close()
            value = secrets.token_hex(40)
            leave(dev, value)
            needles["value"] = value.encode()[:PIECE]
            wait_for("wiped", lambda: not found(pid, needles))
            dev.stop()
            dev.start()
        print("ok residue")


if __name__ == "__main__":
    main()
