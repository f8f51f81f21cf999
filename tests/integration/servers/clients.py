"""Programs that log in with a client key of the vault, as examples/ shows it, to a server
that asks for a certificate and knows nothing of keyvault.

    python3 tests/integration/servers/clients.py BUILD [curl|python|node]
"""
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from server import KINDS, ROOT, TLS13, VERSIONS, Dev, Server, Site, check_docs, named_in_docs, no_node


class Door:
    """An HTTPS server of one TLS version. Its page is the subject of the client."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            subject = self.connection.getpeercert()["subject"]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(", ".join(f"{k}={v}" for ((k, v),) in subject).encode())

        def log_message(self, *_):
            pass

    def __init__(self, work, version):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = self.context.maximum_version = version
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_cert_chain(work / "door.crt", work / "door.key")
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self.Handler)
        self.http.handle_error = lambda *_: None  # a client without a daemon
        self.http.socket = self.context.wrap_socket(
            self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


class Client(Server):
    """What Server knows of examples/, environment and checks; no process stays."""

    def command(self, site, url, ca):
        raise NotImplementedError

    def fetch(self, site, version):
        """The exit status and what the client says."""
        command = self.command(site, self.doors[version].url, self.dev.work / "door.crt")
        done = subprocess.run([str(a) for a in command], env=self.env, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout.strip()

    def expect_subject(self, site, version, subject, name):
        code, said = self.fetch(site, version)
        self.expect(code == 0 and subject in said, name, said[-300:])


class Curl(Client):
    example = variant = "curl"
    why = "keyvault::the key daemon cannot be reached"

    def command(self, site, url, ca):
        config = self.dir / f"{site.name}.curlrc"
        config.write_text(self.site_text(site, "curlrc", ""))
        return ["curl", "-sS", "--fail", "--config", config, "--cacert", ca, url]


class Python(Client):
    example, variant = "python", "python"
    why = None  # it says "EVP lib": the last error of OpenSSL's queue is libssl's

    def command(self, site, url, ca):
        return ["/usr/bin/python3", "-I", ROOT / "examples/python/client.py", url, ca,
                site.cert, site.key]


class Node(Client):
    example, variant = "node", "node"
    why = "keyvault::the key daemon cannot be reached"

    def command(self, site, url, ca):
        return ["node", ROOT / "examples/node/client.js", url, ca, site.cert,
                site.key]


def make_door(work):
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec",
                    "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", work / "door.key", "-out", work / "door.crt"],
                   check=True, stderr=subprocess.DEVNULL)
    return {version: Door(work, version) for version in VERSIONS}


def live(client):
    sites, dev = client.sites, client.dev
    for site in sites:
        for version, words in VERSIONS.items():
            client.expect_subject(site, version, f"commonName={site.host}",
                                  f"client key {words} {site.name}")
    site = sites[0]
    former = unit(site)
    site.create()
    client.expect_subject(site, TLS13, former, "the former version of a client key")
    client.install(site)
    client.expect_subject(site, TLS13, unit(site), "the new version of a client key")
    dev.stop()
    begin = time.monotonic()
    code, said = client.fetch(site, TLS13)
    client.expect(code != 0, "without the daemon it fails")
    if client.why is not None:
        client.expect(client.why in said, "without the daemon it says why", said[-300:])
    client.expect(time.monotonic() - begin < 5, "without the daemon it fails in time")
    dev.start()
    client.expect_subject(site, TLS13, unit(site), "after a restart of the daemon")


def unit(site):
    """What is different in each version's subject."""
    return f"organizationalUnitName={site.n_created}"


def main(build, *variants):
    passed = set()
    clients = [one for one in (Curl, Python, Node) if variants in ((), (one.variant,))]
    if Node in clients and no_node() is not None:
        print("skipped node:", no_node())
        clients.remove(Node)
    with Dev(build) as dev:
        if Curl in clients and dev.is_sanitized:
            print("skipped curl: it hangs with a sanitized module")
            clients.remove(Curl)
        folder = dev.work / "ssl"
        folder.mkdir(mode=0o755)
        doors = make_door(dev.work)
        sites = [Site(dev, folder, name) for name in KINDS]
        for site in sites:
            site.context = {version: door.context for version, door in doors.items()}
            site.create()
            site.write("www-data", 0o644)
        for one in clients:
            client = one(dev, sites, None)
            client.doors = doors
            live(client)
            passed |= client.passed
    check_docs(set(named_in_docs("clients.py")), passed, clients)


if __name__ == "__main__":
    main(*sys.argv[1:])
