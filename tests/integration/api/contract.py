"""The REST API as a stranger meets it: over HTTPS, with each rule of the contract.

    python3 tests/integration/api/contract.py BUILD
"""
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from api import Api, Https  # noqa: E402
from dev import Dev, wait_for  # noqa: E402

ZEROS, ONES = "0" * 32, "1" * 32
VERSIONS = ("7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01")


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def refused(reply, status, code, error_id, inner=None):
    got = (reply.status, reply.error("code"), reply.error("id"), reply.error("inner"))
    expect(got == (status, code, error_id, inner),
           f"{got}, expected {(status, code, error_id, inner)}: {reply.body[:300]}")
    expect(reply.error("message"), "an error has a sentence")
    expect(reply.headers["Content-Type"] == "application/json; charset=utf-8", "JSON")


def ok(reply, status=200):
    expect(reply.status == status, f"{reply.status}: {reply.body[:300]}")
    return reply.json


# --- who may speak -----------------------------------------------------------------------


def challenge(dev):
    """The first request has no token and no body: nothing but 401 may answer it."""
    tenant, url = dev.env["KEYVAULT_TENANT"], dev.env["KEYVAULT_AUTHORITY"]
    anyone = Https(dev, token=None)
    targets = [("PUT", "/secrets/s"), ("GET", "/secrets/s"), ("POST", "/keys/k/create"),
               ("POST", "/keys/k//sign"), ("GET", "/nothing"), ("DELETE", "/keys"),
               ("GET", "/secrets/under_score"), ("GET", "/keys/k/" + ZEROS),
               ("GET", "/keyvault/v1/status"), ("PATCH", "/%zz?%zz"), ("GET", "/")]
    for method, path in targets:
        for version in (Api.VERSION, "api-version=1", None):
            reply = anyone.send(method, path, headers={"Content-Length": "0"}, version=version)
            refused(reply, 401, "Unauthorized", "api.unauthorized")
            expect(reply.headers["WWW-Authenticate"] ==
                   f'Bearer authorization="{url}/{tenant}", resource="https://vault.localhost", '
                   f'scope="https://vault.localhost:{url.rsplit(":", 1)[1]}/.default"',
                   reply.headers["WWW-Authenticate"])
    refused(anyone.send("PUT", "/secrets/s", {"value": "v"}), 401, "Unauthorized",
            "api.unauthorized")
    token = dev.env["KEYVAULT_TOKEN"]
    for wrong in ("", "Bearer", "Bearer ", token, "Basic " + token, "Bearer " + token[:-1],
                  "Bearer " + token + "x", "Bearer " + token.swapcase(),
                  f"Bearer {token}, Bearer {token}", "Bearer null"):
        reply = anyone.send("GET", "/secrets", headers={"Authorization": wrong})
        refused(reply, 401, "Unauthorized", "api.unauthorized")
    expect(anyone.send("GET", "/secrets", headers={
        "Authorization": "bearer " + token}).status == 200, "the scheme has no case")
    # a body that is announced does not matter, nor is it waited for
    plain = anyone.connection.sock
    plain.sendall(b"PUT /secrets/s HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
    expect(plain.recv(65536).startswith(b"HTTP/1.1 401 "), "401 before the body")


def headers(dev):
    api = Https(dev)
    reply = api.send("GET", "/secrets", headers={"x-ms-client-request-id": "id-1"})
    expected = {"x-ms-client-request-id": "id-1", "x-ms-keyvault-region": "local",
                "Cache-Control": "no-cache", "Pragma": "no-cache", "Expires": "-1",
                "X-Content-Type-Options": "nosniff", "Connection": "keep-alive"}
    for name, value in expected.items():
        expect(reply.headers[name] == value, f"{name}: {reply.headers[name]}")
    expect(re.fullmatch(r"[0-9a-f-]{36}", reply.headers["x-ms-request-id"]), "an id")
    expect("max-age=" in reply.headers["Strict-Transport-Security"], "HSTS")
    expect("x-ms-client-request-id" not in api.send("GET", "/secrets").headers, "no echo")
    expect("Server" not in reply.headers, "no product to look up")


def versions(dev):
    api = Https(dev)
    for version in VERSIONS:
        ok(api.send("GET", "/secrets", version="api-version=" + version))
        ok(api.send("GET", "/secrets", version="api%2Dversion=" + version))
    for version in (None, "api-version=", "api-version=7.7", "api-version=2016-10-01",
                    "apiversion=7.5", "api-version=7.5%20", "api-version", "v=7.5",
                    "api-version=7.6-preview.2"):
        for path in ("/secrets", "/nothing", "/secrets/under_score"):
            refused(api.send("GET", path, version=version), 400, "BadParameter",
                    "api.bad-version")
    for query in ("a=%", "a=%zz", "%00=1", "a=%ff"):
        refused(api.send("GET", "/secrets?" + query), 400, "BadParameter", "api.bad-query")


# --- objects -----------------------------------------------------------------------------


def secrets(dev):
    api = Https(dev)
    made = ok(api.send("PUT", "/secrets/First", {
        "value": "sn\u00f6w \u2603 \U0001f600", "contentType": "text/plain",
        "tags": {"a": "b"}, "attributes": {"nbf": 1, "exp": -192522496}}))
    expect(re.fullmatch(re.escape(dev.env["KEYVAULT_URL"]) + r"/secrets/First/[0-9a-f]{32}",
                        made["id"]), made["id"])
    expect(made["value"] == "sn\u00f6w \u2603 \U0001f600", "text comes back as it was")
    expect(made["attributes"]["exp"] == 4102444800, "a date beyond 2038")
    for path in ("/secrets/first", "/secrets/FIRST/", "/secrets/First//",
                 "/secrets/First/" + made["id"][-32:]):
        expect(ok(api.send("GET", path)) == made, path)
    bare = ok(api.send("PUT", "/secrets/first", {"value": ""}))
    expect(sorted(bare) == ["attributes", "id", "value"], "a new version inherits nothing")
    expect("/secrets/First/" in bare["id"], "the first spelling stays")
    listed = ok(api.send("GET", "/secrets/first/versions"))["value"]
    expect(len(listed) == 2 and all("value" not in item for item in listed), "versions")
    expect([item["id"] for item in ok(api.send("GET", "/secrets"))["value"]] ==
           [made["id"][:-33]], "a list has base ids")
    ok(api.send("PUT", "/secrets/off", {"value": "v", "attributes": {"enabled": False}}))
    refused(api.send("GET", "/secrets/off"), 403, "Forbidden", "api.secret-disabled",
            "SecretDisabled")
    ok(api.send("PUT", "/secrets/past", {"value": "v", "attributes": {"exp": 1}}))
    ok(api.send("GET", "/secrets/past"))


def secret_limits(dev):
    api = Https(dev)

    def put(**body):
        return api.send("PUT", "/secrets/limits", body)

    ok(put(value="v" * 25600))
    ok(put(value="\u00e4" * 12800))
    ok(put(value="\x01" * 25600))
    ok(put(value="v", contentType="\u00e4" * 255))
    ok(put(value="v", tags={f"{i:02}" + "\U0001f600" * 254: "\U0001f600" * 256
                            for i in range(15)}))
    wrong = [{}, {"value": None}, {"value": 1}, {"value": ["v"]}, {"value": "v" * 25601},
             {"value": "\u00e4" * 12801}, {"value": "v", "contentType": "c" * 256},
             {"value": "v", "contentType": 1}, {"value": "v", "attributes": []},
             {"value": "v", "attributes": {"enabled": 1}},
             {"value": "v", "attributes": {"exp": 1.5}},
             {"value": "v", "attributes": {"exp": 253402300800}},
             {"value": "v", "attributes": {"nbf": -2147483649}},
             {"value": "v", "attributes": {"exp": -(2 ** 63)}},
             {"value": "v", "attributes": {"nbf": 5, "exp": 4}},
             {"value": "v", "tags": {str(i): "" for i in range(16)}},
             {"value": "v", "tags": {"a": 1}}, {"value": "v", "tags": {"": "a"}},
             {"value": "v", "tags": {"a" * 257: ""}}, {"value": "v", "tags": {"a": "b" * 257}},
             {"value": "v", "tags": "a"}]
    before = len(ok(api.send("GET", "/secrets/limits/versions"))["value"])
    for body in wrong:
        reply = put(**body)
        missing = body.get("value") is None
        refused(reply, 400, "BadParameter", "api.missing-field" if missing else "api.bad-field")
        expect(b"vvvv" not in reply.body, "no value in a refusal")
    expect(len(ok(api.send("GET", "/secrets/limits/versions"))["value"]) == before,
           "nothing was kept")


def bodies(dev):
    api = Https(dev)
    raw = [b"{", b"[]", b"null", b'"v"', b"value=v", b'{"value":"a","value":"b"}',
           b'{"value":"a","v\\u0061lue":"b"}', b'{"value":"\\u0000"}', b'{"value":"\xff"}',
           b'{"value":"\\ud800"}', b'{"value":"v"}x', b'\xef\xbb\xbf{"value":"v"}',
           b'{"value":"v",}', b"{'value':'v'}", b'{"a":' * 17 + b"1" + b"}" * 17,
           b"[" * 100000, b'{"attributes":{"exp":1e999}}', '{"value":"v"}'.encode("utf-16")]
    for body in raw:
        refused(api.send("PUT", "/secrets/bodies", body), 400, "BadParameter", "api.bad-body")
    # a client that lost its body: with token, without body
    for method, path in (("PUT", "/secrets/b"), ("POST", "/keys/b/create"), ("PUT", "/keys/b"),
                         ("POST", "/keys/b//sign"), ("PUT", "/keyvault/v1/assignments")):
        reply = api.send(method, path, headers={"Content-Length": "0"})
        refused(reply, 400, "BadParameter", "api.no-body")
        expect(reply.error("message") == "Request body not specified", "the contract's words")
        reply = api.send(method, path, b'{"value":"v"}', headers={"Content-Type": "text/plain"})
        refused(reply, 415, "UnsupportedMediaType", "api.bad-content-type")
    expect(api.send("GET", "/secrets/bodies").status == 404, "nothing was kept")
    ok(api.send("PUT", "/secrets/b", b'\r\n{"value":"v"}\n', headers={"Content-Type": None}))
    ok(api.send("PUT", "/secrets/b", iter((b'{"value":', b'"chunked"}')),
                headers={"Content-Type": "application/json; charset=utf-8"}))
    expect(ok(api.send("GET", "/secrets/b"))["value"] == "chunked", "a body in chunks")


def too_large(dev):
    api = Https(dev)
    reply = attempt(api, "PUT", "/secrets/large", b'{"value":"' + b"v" * 262144 + b'"}')
    refused(reply, 413, "RequestEntityTooLarge", "api.bad-request")
    reply = attempt(api, "GET", "/secrets?a=" + "a" * 20000)
    expect(reply.status in (414, 431) and reply.error("code"), f"long target: {reply.status}")
    reply = attempt(api, "GET", "/secrets", headers={"x-long": "a" * 20000})
    refused(reply, 431, "RequestHeaderFieldsTooLarge", "api.bad-request")
    reply = attempt(api, "GET", "/secrets", headers={f"x-{i}": "a" for i in range(100)})
    refused(reply, 431, "RequestHeaderFieldsTooLarge", "api.bad-request")
    reply = attempt(api, "PUT", "/secrets/s", b"{}", headers={"Content-Encoding": "gzip"})
    expect(reply.status == 400, "bytes that are no JSON, or a coding that is not known")
    ok(api.send("GET", "/secrets"))


def attempt(api, *args, **kwargs):
    """One request on a new connection: a refusal may close it while we still write."""
    api.close()
    try:
        return api.send(*args, **kwargs)
    finally:
        api.close()


def errors(dev):
    api = Https(dev)
    ok(api.send("POST", "/keys/k/create", {"kty": "EC"}))
    rows = [
        ("GET", "/", 404, "NotFound", "api.no-route"),
        ("GET", "//keys", 404, "NotFound", "api.no-route"),
        ("GET", "/keys/k/1/2", 404, "NotFound", "api.no-route"),
        ("GET", "/keys/k/" + ONES + "/sign/x", 404, "NotFound", "api.no-route"),
        ("GET", "/keys/../secrets", 400, "BadParameter", "api.bad-name"),
        ("GET", "/KEYS/%2e%2e", 400, "BadParameter", "api.bad-name"),
        ("GET", "/keys/under_score", 400, "BadParameter", "api.bad-name"),
        ("GET", "/keys/" + "k" * 128, 400, "BadParameter", "api.bad-name"),
        ("GET", "/keys/k%00", 400, "BadParameter", "api.bad-name"),
        ("GET", "/keys/%c3%a4", 400, "BadParameter", "api.bad-name"),
        ("GET", "/keys/k/1", 400, "BadParameter", "api.bad-object-version"),
        ("GET", "/keys/k/" + "A" * 32, 400, "BadParameter", "api.bad-object-version"),
        ("GET", "/keys/k/" + "a" * 33, 400, "BadParameter", "api.bad-object-version"),
        ("GET", "/keys/k/" + ZEROS, 404, "KeyNotFound", "object.not-found"),
        ("GET", "/keys/k/" + ONES, 404, "KeyNotFound", "object.not-found"),
        ("GET", "/keys/absent", 404, "KeyNotFound", "object.not-found"),
        ("GET", "/secrets/k", 404, "SecretNotFound", "object.not-found"),
        ("GET", "/secrets/k/" + ZEROS, 404, "SecretNotFound", "object.not-found"),
        ("GET", "/secrets?maxresults=0", 400, "BadParameter", "api.bad-page"),
        ("GET", "/keys?maxresults=26", 400, "BadParameter", "api.bad-page"),
        ("GET", "/keys?$skiptoken=!", 400, "BadParameter", "api.bad-page"),
        ("POST", "/keys/k/release", 400, "NotSupported",
         "api.not-offered"),
        ("POST", "/keys/restore", 400, "BadParameter", "api.no-body"),
        ("PATCH", "/keys", 405, "MethodNotAllowed", "api.no-method"),
        ("DELETE", "/secrets", 405, "MethodNotAllowed", "api.no-method"),
        ("GET", "/keys/k//sign", 405, "MethodNotAllowed", "api.no-method"),
        ("OPTIONS", "/keys", 405, "MethodNotAllowed", "api.no-method"),
    ]
    for method, path, status, code, error_id in rows:
        refused(api.send(method, path), status, code, error_id)
    reply = api.send("POST", "/secrets/s", b"{}")
    refused(reply, 405, "MethodNotAllowed", "api.no-method")
    expect(set(reply.headers["Allow"].split(", ")) == {"GET", "PUT", "PATCH", "DELETE"},
           reply.headers["Allow"])
    head = api.send("HEAD", "/keys")
    expect(head.status == 405 and not head.body, "HEAD has no body")
    reply = attempt(api, "BREW", "/keys")
    expect(reply.status in (400, 405, 501) and reply.error("code"), "an unknown method")


def managed_names(dev):
    """What belongs to a certificate is not written through its key or secret."""
    api = Https(dev)
    ok(api.send("POST", "/certificates/cert/create", {"policy": {
        "issuer": {"name": "Self"}, "key_props": {"kty": "EC"},
        "x509_props": {"subject": "CN=a.example"}}}), 202)
    wait_for("the certificate is issued", lambda: ok(api.send(
        "GET", "/certificates/cert/pending"))["status"] == "completed")
    bundle = ok(api.send("GET", "/certificates/cert"))
    version = bundle["id"][-32:]
    key = ok(api.send("GET", "/keys/cert"))
    secret = ok(api.send("GET", "/secrets/cert"))
    expect(key["managed"] is True and key["key"]["kid"] == bundle["kid"], "its key")
    expect(secret["managed"] is True and secret["id"] == bundle["sid"], "its secret")
    expect(secret["kid"] == bundle["kid"] and version in secret["id"], "one version")
    for method, path, body in (("PUT", "/secrets/cert", {"value": "v"}),
                               ("POST", "/keys/cert/create", {"kty": "EC"})):
        refused(api.send(method, path, body), 403, "Forbidden", "api.managed")
    digest = "A" * 43
    ok(api.send("POST", "/keys/cert//sign", {"alg": "ES256", "value": digest}))


def pages(dev):
    api = Https(dev)
    for i in range(30):
        ok(api.send("PUT", f"/secrets/page-{i:02}", {"value": "v"}))
    for size in ("", "maxresults=7&", "maxresults=25&"):
        seen, link = [], f"/secrets?{size}x=%2F"
        for _ in range(20):
            reply = ok(api.send("GET", link, version=None if seen else Api.VERSION))
            seen += [item["id"].rsplit("/", 1)[1] for item in reply["value"]]
            if reply["nextLink"] is None:
                break
            expect(reply["nextLink"].startswith(dev.env["KEYVAULT_URL"] + "/secrets?"),
                   reply["nextLink"])
            link = reply["nextLink"][len(dev.env["KEYVAULT_URL"]):]
        names = [name for name in seen if name.startswith("page-")]
        expect(names == [f"page-{i:02}" for i in range(30)], f"each once, in order: {names}")


# --- administration ----------------------------------------------------------------------


def access(dev):
    api = Https(dev)
    path = "/keyvault/v1/assignments"
    grant = {"principal": "unix:nobody", "role": "Key Vault Secrets User",
             "scope": "secrets/First"}
    given = ok(api.send("PUT", path, grant, version=None))
    expect(given["role"] == "secrets-user" and given["scope"] == "/default/secrets/First",
           f"{given}")
    expect(ok(api.send("PUT", path, grant, version=None)) == given, "the same again")
    expect(given in ok(api.send("GET", path, version=None))["value"], "it is listed")
    if os.geteuid() == 0:
        as_nobody(dev, [("/secrets/First", 200), ("/secrets/off", 403), ("/secrets", 403),
                        ("/secrets/absent", 403), ("/keys/k", 403),
                        ("/keyvault/v1/status", 200)])
    expect(ok(api.send("DELETE", path, grant, version=None)) == given, "revoked")
    if os.geteuid() == 0:
        as_nobody(dev, [("/secrets/First", 403), ("/keyvault/v1/assignments", 200)])
    refused(api.send("DELETE", path, grant, version=None), 404, "NotFound", "access.not-found")
    refused(api.send("PUT", path, {**grant, "role": "king"}, version=None), 400,
            "BadParameter", "access.bad-role")
    refused(api.send("PUT", path, {**grant, "principal": "nobody"}, version=None), 400,
            "BadParameter", "access.bad-principal")
    refused(api.send("PUT", path, {**grant, "scope": "x"}, version=None), 400,
            "BadParameter", "access.bad-scope")


def as_nobody(dev, rows):
    """Ask api.sock as another user; in --dev its mode keeps others out, so open it."""
    sock = dev.dir / "api.sock"
    sock.chmod(0o666)
    script = ("import json, os, sys; "
              f"sys.path.insert(0, {str(HERE.parent.parent.parent / 'support')!r}); "
              "from api import Api; os.setgid(65534); os.setuid(65534); "
              f"api = Api({str(sock)!r}); "
              "print(json.dumps([api.send('GET', p).status for p in json.load(sys.stdin)]))")
    out = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE,
                         input=json.dumps([path for path, _ in rows]).encode()).stdout
    sock.chmod(0o600)
    expect(json.loads(out) == [status for _, status in rows], f"{rows}: {out}")


def status(dev):
    for api in (Https(dev), Api(dev.dir / "api.sock")):
        state = ok(api.send("GET", "/keyvault/v1/status", version=None))
        expect(state["state"] == "ready" and state["isDev"] is True, f"{state}")
        expect(state["tenant"] == dev.env["KEYVAULT_TENANT"], "tenant")
        expect(state["vaults"][0]["url"] == dev.env["KEYVAULT_URL"], "url")
    # a host that names no vault gets the default
    for host in ("localhost", "default.vault.localhost"):
        ok(Https(dev, host=host).send("GET", "/secrets/First"))


# --- many, hasty, and lost clients ---------------------------------------------------------


def parallel(dev):
    def one(i):
        api = Https(dev)
        try:
            for k in range(5):
                name = f"par-{i % 8}"
                made = ok(api.send("PUT", f"/secrets/{name}", {"value": f"{i}-{k}"}))
                got = ok(api.send("GET", f"/secrets/{name}/{made['id'][-32:]}"))
                expect(got["value"] == f"{i}-{k}", "each gets its own back")
                ok(api.send("POST", f"/keys/par-{i}/create", {"kty": "EC"}))
        finally:
            api.close()

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        for done in [pool.submit(one, i) for i in range(64)]:
            done.result()
    api = Https(dev)
    n = 0
    for i in range(8):
        link = f"/secrets/par-{i}/versions"
        while link:
            reply = ok(api.send("GET", link, version=None if "?" in link else Api.VERSION))
            n += len(reply["value"])
            link = (reply["nextLink"] or "").removeprefix(dev.env["KEYVAULT_URL"])
    expect(n == 64 * 5, f"every write that was acknowledged is there: {n}")


def lost_clients(dev):
    for i in range(200):
        api = Https(dev) if i % 2 else Api(dev.dir / "api.sock")
        api.connection.connect()
        token = f"Authorization: Bearer {api.token}\r\n" if api.token else ""
        body = '{"kty":"EC"}' if i % 4 else '{"kty":"EC"'
        api.connection.sock.sendall(
            f"POST /keys/lost-{i}/create?{Api.VERSION} HTTP/1.1\r\nHost: x\r\n{token}"
            f"Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{body}".encode())
        if i % 3:
            time.sleep(0.002)
        api.close()
    ok(Https(dev).send("GET", "/keys"))
    expect(dev.role_pid("keyvault-service") == dev.service_pid, "the same process")


def many_connections(dev):
    """More connections than the soft limit of files that the process started with."""
    port = Https(dev).connection.port
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(1500, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held = []
    try:
        for i in range(wanted):
            source = f"127.0.0.{2 + i % 4}"
            held.append(socket.create_connection(("127.0.0.1", port), 10, (source, 0)))
        api = Https(dev)
        began = time.monotonic()
        ok(api.send("GET", "/secrets/First"))
        expect(time.monotonic() - began < 5, "the others do not hold it up")
        files = len(os.listdir(f"/proc/{dev.service_pid}/fd"))
        expect(files > min(wanted, 1024), f"{files} files for {wanted} connections")
    finally:
        for connection in held:
            connection.close()
    ok(Https(dev).send("GET", "/secrets/First"))


def restart(dev):
    """Everything is there again, under the URL of now."""
    before = ok(Https(dev).send("GET", "/secrets/First"))
    token, port = dev.env["KEYVAULT_TOKEN"], Https(dev).connection.port
    waiting = [Https(dev) for _ in range(12)]
    for i, api in enumerate(waiting):  # keys that take seconds: nobody waits for them
        api.connection.request("POST", f"/keys/slow-{i}/create?" + Api.VERSION,
                               body=json.dumps({"kty": "RSA", "key_size": 4096}), headers={
                                   "Authorization": "Bearer " + api.token,
                                   "Content-Type": "application/json"})
    began = time.monotonic()
    expect(dev.stop() == 0, "a clean end")
    expect(time.monotonic() - began < 10, "in time")
    expect("role.killed" not in dev.log_text(), "no role had to be killed")
    dev.start()
    dev.service_pid = dev.role_pid("keyvault-service")
    expect(dev.env["KEYVAULT_TOKEN"] == token, "the token stays")
    after = ok(Https(dev).send("GET", "/secrets/First"))
    expect(Https(dev).connection.port != port, "another port")
    expect(after["id"].startswith(dev.env["KEYVAULT_URL"]), "ids name the present one")
    expect({**after, "id": ""} == {**before, "id": ""}, "all else is as it was")


def nothing_told(dev):
    """The log has neither tokens nor values, and no error that nobody asked for."""
    log = dev.log_text()
    for word in (dev.env["KEYVAULT_TOKEN"], "sn\u00f6w", "vvvv", "chunked"):
        expect(word not in log, "a log has no secrets")
    expect("assertion" not in log.lower() and "role.ended" not in log, log[-2000:])


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    dev = Dev(sys.argv[1])
    dev.work.chmod(0o711)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    with dev:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        dev.service_pid = dev.role_pid("keyvault-service")
        for step in (challenge, headers, versions, secrets, secret_limits, bodies, too_large,
                     errors, managed_names, pages, status, access, parallel, lost_clients,
                     many_connections, restart, nothing_told):
            step(dev)
            print(f"ok {step.__name__}", flush=True)


if __name__ == "__main__":
    main()
