"""What the command line does with answers that a real service seldom gives.

    python3 tests/integration/cli/fake_api.py BUILD

A small server on a Unix socket plays certificate operations (slow, failed, waiting for
a person), chains in either place, errors of another server of the contract, and
broken replies.
"""
import base64
import http.server
import json
import pathlib
import socketserver
import subprocess
import sys
import tempfile
import threading

DONE, FAILED, USAGE, NOT_FOUND, DENIED, UNREACHABLE = range(6)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def openssl(work, *args):
    return subprocess.run(["openssl", *map(str, args)], cwd=work, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def make_chain(work):
    """A CA, a leaf that it signed, and the leaf's key."""
    openssl(work, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Test CA")
    openssl(work, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=leaf.example")
    openssl(work, "x509", "-req", "-in", "leaf.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-out", "leaf.crt")


def der_b64(pem):
    return "".join(pem.strip().splitlines()[1:-1])


class State:
    polls = 0
    looks = 0  # for what another server deletes and recovers
    bodies = {}


def handler(work):
    leaf, ca = ((work / f).read_text() for f in ("leaf.crt", "ca.crt"))
    key = (work / "leaf.key").read_text()
    host = "https://default.vault.localhost"
    version = "0123456789abcdef0123456789abcdef"

    def operation(name, status, issuer="Self", **more):
        return {"id": f"{host}/certificates/{name}/pending", "issuer": {"name": issuer},
                "status": status, "request_id": version, **more}

    def bundle(name, **more):
        return {"id": f"{host}/certificates/{name}/{version}", "cer": der_b64(leaf),
                "attributes": {"enabled": True}, **more}

    def pending(name):
        State.polls += 1
        if name == "bad":
            return operation(name, "failed", error={"code": "Refused", "message": "no luck"})
        return operation(name, "inProgress" if State.polls < 3 else "completed")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def reply(self, status, body, chunked=False):
            data = json.dumps(body).encode() if not isinstance(body, bytes) else body
            self.send_response(status)
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for byte in data:
                    self.wfile.write(b"1\r\n" + bytes([byte]) + b"\r\n")
                self.wfile.write(b"0\r\n\r\n")
                return
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def read(self):
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return json.loads(data) if data else None

        def do_POST(self):
            parts = self.path.split("?")[0].split("/")
            name, verb = parts[2], parts[3]
            State.bodies[name] = self.read()
            if verb == "recover":
                return self.reply(200, {"id": f"{host}/secrets/{name}/{version}", "attributes": {}})
            if verb == "import":
                return self.reply(200, bundle(name))
            issuer = "Unknown" if name == "manual" else "Self"
            return self.reply(202, operation(name, "inProgress", issuer))

        def do_DELETE(self):
            name = self.path.split("?")[0].split("/")[2]
            gone = {} if name == "at-once" else {
                "recoveryId": f"{host}/deletedsecrets/{name}", "deletedDate": 1,
                "scheduledPurgeDate": 2}
            self.reply(200, {"id": f"{host}/secrets/{name}/{version}", "attributes": {}, **gone})

        def do_GET(self):
            path = self.path.split("?")[0]
            parts = path.split("/")
            name = parts[2] if len(parts) > 2 else ""
            if name == "slow":
                State.looks += 1
                if State.looks % 3:
                    return self.reply(404, {"error": {"code": "SecretNotFound", "message": "not yet"}})
            if name == "unseen":
                return self.reply(403, {"error": {"code": "Forbidden", "message": "not you"}})
            if name == "broken":
                return self.reply(500, {"error": {"code": "InternalServerError", "message": "no"}})
            if path == "/certificates/contacts":
                return self.reply(200, {"id": "x"})
            if path.endswith("/pending"):
                return self.reply(200, pending(name))
            if path.startswith("/secrets/") and name == "chain-in-secret":
                return self.reply(200, {"value": key + leaf + ca})
            if name == "azure-error":
                return self.reply(404, {"error": {"code": "KeyNotFound", "message": "not \x1b[2J"}})
            if name == "empty-error":
                return self.reply(500, b"")
            if name == "html":
                return self.reply(200, b"<html>")
            if name == "sealed":
                return self.reply(503, {"error": {"code": "ServiceUnavailable", "message": "s",
                                                  "id": "keyring.sealed"}})
            if name == "chunked":
                return self.reply(200, {"key": {"kty": "RSA", "kid": f"{host}/keys/chunked"}}, True)
            if name == "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")
                self.close_connection = True
                return None
            if name == "garbage":
                self.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
                self.close_connection = True
                return None
            if name == "pending-only":
                return self.reply(200, {"id": f"{host}/certificates/{name}/{version}",
                                        "pending": {"id": "x"}, "attributes": {}})
            if name == "chain-in-bundle":
                return self.reply(200, bundle(name, x5c=[der_b64(leaf), der_b64(ca)]))
            if path == "/secrets" or path == "/next":
                page = int(path == "/next")
                link = None if page else "https://elsewhere.example/next?$skiptoken=x"
                return self.reply(200, {"value": [{"id": f"{host}/secrets/s{page}",
                                                   "attributes": {}}], "nextLink": link})
            return self.reply(200, bundle(name))

    return Handler


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        return super().get_request()[0], ("unix", 0)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="keyvault-test.") as directory:
        work = pathlib.Path(directory)
        make_chain(work)
        server = Server(str(work / "api.sock"), handler(work))
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def cli(*args, code=DONE):
            done = subprocess.run([build / "keyvault", *map(str, args)], cwd=work,
                                  env={"KEYVAULT_API": f"unix:{work}/api.sock"},
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
            expect(done.returncode == code, f"{args}: exit {done.returncode}: {done.stderr}")
            return done

        # operations
        create = ("--issuer", "Self", "--subject", "CN=a", "--dns", "a,b")
        out = cli("cert", "create", "web", *create).stdout
        expect(State.polls == 3 and b"CN=leaf.example" in out, "it waits until completed")
        policy = State.bodies["web"]["policy"]
        expect(policy["x509_props"]["sans"]["dns_names"] == ["a", "b"], "the policy is sent")
        out = cli("cert", "create", "web", *create, "--no-wait", "--json").stdout
        expect(json.loads(out)["status"] == "inProgress", "--no-wait does not wait")
        done = cli("cert", "create", "bad", *create, code=FAILED)
        expect(b"no luck" in done.stderr, "the issuer's reason is told")
        done = cli("cert", "create", "manual", "--issuer", "Unknown", "--subject", "CN=a")
        expect(b"hint:" in done.stderr, "an Unknown issuer is not waited for")
        cli("cert", "create", "x", "--subject", "CN=a", code=USAGE)
        cli("cert", "create", "x", "--issuer", "Self", code=USAGE)

        # deletion and recovery that take their time
        out = cli("secret", "delete", "slow").stdout
        expect(State.looks == 3 and b"purged on 1970-01-01" in out, f"it waits: {State.looks}")
        cli("secret", "recover", "slow")
        expect(State.looks == 6, "a recovery is waited for, too")
        cli("secret", "delete", "slow", "--no-wait")
        expect(State.looks == 6, "--no-wait does not look")
        cli("secret", "delete", "unseen")
        done = cli("secret", "delete", "broken", code=FAILED)
        expect(b"InternalServerError" in done.stderr, "who waits is told of faults")
        expect(b"for good" in cli("secret", "delete", "at-once").stdout, "without soft delete")
        expect(b"cli.bad-reply" in cli("contact", "list", code=FAILED).stderr, "no contacts")

        # import
        (work / "both.pem").write_text((work / "leaf.key").read_text() +
                                       (work / "leaf.crt").read_text())
        (work / "pw").write_text("secret\n")
        cli("cert", "import", "i", "--file", "both.pem", "--password-file", "pw", "--exportable")
        body = State.bodies["i"]
        expect(base64.b64decode(body["value"]) == (work / "both.pem").read_bytes()
               and body["pwd"] == "secret" and body["policy"]["key_props"]["exportable"] is True,
               "the import body")
        cli("cert", "import", "i", code=USAGE)
        cli("cert", "import", "i", "--file", "absent", code=FAILED)

        # PEM
        chain = (work / "leaf.crt").read_bytes() + (work / "ca.crt").read_bytes()
        for name in ("chain-in-bundle", "chain-in-secret"):
            out = cli("cert", "show", name, "--pem").stdout
            expect(out == chain, f"{name}: leaf, then chain, and nothing else")
        cli("cert", "show", "chain-in-bundle", "--pem", "--out", "chain.pem")
        expect((work / "chain.pem").read_bytes() == chain, "--out")
        expect(b"leaf.example" in cli("cert", "show", "web").stdout, "fields")
        done = cli("cert", "show", "pending-only", "--pem", code=FAILED)
        expect(b"cli.cert-pending" in done.stderr, "a pending one has no PEM")

        # replies
        done = cli("key", "show", "azure-error", code=NOT_FOUND)
        expect(b"KeyNotFound" in done.stderr and b"\x1b" not in done.stderr,
               "another server's code, and no escape sequence")
        expect(b"cli.refused" in cli("key", "show", "empty-error", code=FAILED).stderr, "no body")
        expect(b"cli.bad-reply" in cli("key", "show", "html", code=FAILED).stderr, "no JSON")
        cli("key", "show", "sealed", code=UNREACHABLE)
        for name in ("cut", "garbage"):
            expect(b"cli.bad-reply" in cli("key", "show", name, code=FAILED).stderr, name)
        expect(b"chunked" in cli("key", "show", "chunked").stdout, "chunked replies")
        items = json.loads(cli("secret", "list", "--json").stdout)
        expect(len(items) == 2, "nextLink is followed on the same connection")
        server.shutdown()
        print("as expected")


if __name__ == "__main__":
    main()
