"""One life for every TLS server: Debian's package with the configuration of examples/.

A file per server describes how it is configured, started and told to reload, as a
subclass of Server, and calls life(). What happens to it is written once, here; each
check prints "ok NAME", and the first that fails ends the run with exit status 1.
"""
import itertools
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from dev import (Dev, children, free_port, listens, sanitizers,  # noqa: E402
                 stop, wait_for)

TLS12 = ssl.TLSVersion.TLSv1_2
TLS13 = ssl.TLSVersion.TLSv1_3
VERSIONS = {TLS12: "TLS 1.2", TLS13: "TLS 1.3"}
KINDS = {
    "rsa2048": ("--key-type", "RSA", "--size", "2048"),
    "p256": ("--key-type", "EC", "--curve", "P-256"),
    "p384": ("--key-type", "EC", "--curve", "P-384"),
    "ed25519": ("--key-type", "Ed25519"),
}
# Keys that exist as a file too, so that there is something known to look for.
IMPORTED = {
    "imported-rsa": ("-newkey", "rsa:2048"),
    "imported-p256": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
}
# What a server logs without daemon that knows OpenSSL's reason, not the text with it.
REASON = re.compile(r"keyvault::the key daemon cannot be reached")
IS_FULL = os.environ.get("KEYVAULT_TEST_FULL", "0") != "0"


def together(term_signal, *commands):
    """The command that runs several programs at once, for servers with one key each.
    For SIGTERM they get `term_signal`."""
    return [sys.executable, pathlib.Path(__file__).with_name("together.py"), term_signal,
            *(shlex.join(map(str, command)) for command in commands)]


def as_user(user, *command):
    """A command run as `user`, where we are root."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--reuid", user, "--regid", user, "--init-groups", *command]


def no_node():
    """Why the Node.js that is installed cannot load providers, or None."""
    try:
        done = subprocess.run(["node", "-p", "process.versions.openssl"],
                              stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        return "there is no node"
    return None if re.match(r"[3-9]\.", done.stdout) else f"OpenSSL is {done.stdout.strip()}"


def replace(path, data, user, mode):
    """Write a file that the user may read; at no moment is it half there."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.chmod(mode)
    if os.geteuid() == 0:
        shutil.chown(new, user, user)
    os.replace(new, path)


class Site:
    """A key and certificate of the vault, and the place where a server uses them.

    `cert` and `key` are the files that the server reads, `host` is the name in the
    certificate, `served` the certificate (DER) that the files hold."""

    def __init__(self, dev, folder, name):
        self.dev = dev
        self.name = name
        self.host = f"{name}.localhost"
        self.port = free_port()
        self.cert = folder / f"{name}.crt"
        self.key = folder / f"{name}.uri.pem"
        self.served = None
        self.n_created = 0
        self.context = {}
        for version in VERSIONS:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = context.maximum_version = version
            self.context[version] = context

    def create(self):
        """A new version of key and certificate, which clients trust from now on.

        Each has a subject of its own: a client that trusts two self-signed
        certificates of one subject verifies with the first of them only."""
        self.n_created += 1
        if self.name in IMPORTED:
            self.import_file()
        else:
            self.dev.cli("cert", "create", self.name, "--issuer", "Self", "--subject",
                         f"CN={self.host}, OU={self.n_created}", "--dns", self.host,
                         *KINDS[self.name])
        pem = self.dev.cli("cert", "show", self.name, "--pem").decode()
        for context in self.context.values():
            context.load_verify_locations(cadata=pem)

    def import_file(self):
        base = self.dev.work / self.name
        plain = {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}
        subprocess.run(
            ["openssl", "req", "-x509", "-nodes", "-days", "30",
             "-subj", f"/CN={self.host}/OU={self.n_created}",
             "-addext", f"subjectAltName=DNS:{self.host}",
             "-addext", "basicConstraints=critical,CA:FALSE",
             "-keyout", f"{base}.key", "-out", f"{base}.crt", *IMPORTED[self.name]],
            check=True, env=plain, stderr=subprocess.DEVNULL)
        both = pathlib.Path(f"{base}.pem")
        both.write_text(pathlib.Path(f"{base}.key").read_text()
                        + pathlib.Path(f"{base}.crt").read_text())
        self.dev.cli("cert", "import", self.name, "--file", both)

    def write(self, user, key_mode):
        """What an operator does after a renewal: both files again, each at once."""
        pem = self.dev.cli("cert", "show", self.name, "--pem")
        replace(self.cert, pem, user, 0o644)
        replace(self.key, self.dev.cli("key", "uri-pem", self.name), user, key_mode)
        self.served = ssl.PEM_cert_to_DER_cert(pem.decode())


class Backend:
    """A plain HTTP server behind a TLS proxy; `port` is where it listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"from the backend\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    def __init__(self):
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self.Handler)
        self.port = self.http.server_port
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


class Server:
    """What a subclass says about its server: the class members, configure() and
    command(), and whatever else differs. `dir` is its scratch directory."""

    example = None          # folder in examples/
    variant = ""            # one of several lives of a server; stands before each check
    user = "www-data"       # who handles connections when the test runs as root
    key_mode = 0o644        # of the file that names the key; it holds no secret
    kinds = tuple(KINDS)    # the keys that it is tried with
    log_file = "error.log"  # in `dir`; what it writes to its terminal goes there too
    # Lines of the log that mean that something went wrong, and those that do not.
    complaint = re.compile(r"\[(warn|error|crit|alert|emerg)\]|\berror:[0-9A-F]{8}:")
    harmless = re.compile(r"(?!)")
    own_failures = ()       # of clients during a reload, with key files as well
    without = ()            # checks that it cannot have
    # What it logs of OpenSSL's reason; None where it logs nothing.
    cause = re.compile(r"key \S+: cannot reach .*doctor --as \d+ keyvault://default/keys/")
    stop_codes = (0,)       # exit status after SIGTERM
    is_in_chroot = False    # where the path of the key socket does not exist

    def __init__(self, dev, sites, backend):
        self.dev = dev
        self.sites = sites
        self.backend = backend
        self.dir = dev.work / f"{self.example}{self.variant}"
        self.dir.mkdir(mode=0o755)
        self.log_path = self.dir / self.log_file
        self.log_path.touch()
        if os.geteuid() == 0:
            shutil.chown(self.log_path, self.user, self.user)
        self.process = None
        self.passed = set()
        self.env = {"PATH": os.environ["PATH"], "LC_ALL": "C",
                    "OPENSSL_CONF": str(self.openssl_conf())}
        self.needs = sanitizers(dev.build / "keyvault.so")
        self.env.update(self.needs)

    # What a subclass writes.

    def configure(self):
        """Write the configuration for self.sites."""
        raise NotImplementedError

    def command(self):
        """The command that runs it in the foreground."""
        raise NotImplementedError

    # What a subclass may replace.

    def prelude(self, raw):
        """What is said on the connection before TLS, as STARTTLS."""

    def talk(self, tls, site):
        """Use the connection: one HTTP request, answered with 200."""
        tls.sendall(f"GET / HTTP/1.0\r\nHost: {site.host}\r\n\r\n".encode())
        reply = b"".join(iter(lambda: tls.recv(4096), b""))
        if not re.match(rb"HTTP/1\.[01] 200 ", reply):
            raise OSError(f"{site.name}: the reply is {reply[:60]}")

    def install(self, site):
        """Bring the files of a site up to date."""
        site.write(self.user, self.key_mode)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def own_checks(self):
        """What only this server does, while the daemon is up."""

    def is_up(self):
        return all(listens(site.port) for site in self.sites)

    def pids(self):
        """Every process of the server."""
        found = [self.process.pid]
        for pid in found:
            found += children(pid)
        return found

    # What a subclass uses.

    def run(self, *command):
        """A command in the environment of the server; it must succeed."""
        done = subprocess.run([str(a) for a in command], env=self.env, cwd=self.dir,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.stdout.decode()[-2000:]}")

    def example_text(self, file, *changes, folder=None):
        """A file of examples/ with its paths, ports and names replaced: (old, new)."""
        text = (ROOT / "examples" / (folder or self.example) / file).read_text()
        for old, new in changes:
            if old not in text:
                raise AssertionError(f"{self.example}/{file} does not say {old!r}")
            text = text.replace(old, str(new))
        return text

    def site_text(self, site, file, port, *changes):
        """example_text() for one site: where its files are, its name (where the example
        has one) and its port: what the file says of it, with 443 as the number."""
        return self.example_text(
            file, ("/etc/ssl/keyvault/web", site.cert.with_suffix("")),
            (port, port.replace("443", str(site.port))),
            *changes).replace("web.example.org", site.host)

    def openssl_conf(self):
        path = self.dir / "openssl.cnf"
        path.write_text(self.example_text(
            "openssl.cnf", ("keyvault.so", self.dev.build / "keyvault.so"),
            ("/run/keyvault", self.dev.dir), ("998", os.geteuid()),
            *([self.twin()] if self.is_in_chroot else []), folder="openssl"))
        return path

    def twin(self):
        """The line of openssl.cnf for a chroot, with what `keyvault doctor` prints."""
        said = self.dev.cli("doctor", check=False).decode()
        name = re.search(r"^ok +twin +(\S+)$", said, re.MULTILINE)[1]
        return "# abstract-socket = @keyvault/INSTALLATION/keys", f"abstract-socket = {name}"

    # How the life below uses it.

    def expect(self, condition, name, detail=""):
        """One check: its name goes into docs/provider.md, the detail changes by run."""
        name = f"{self.variant} {name}".lstrip()
        if not condition:
            raise AssertionError(f"{name}: {detail}")
        self.passed.add(name)
        print("ok", name, f"({detail})" if detail else "", flush=True)

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(a) for a in self.command()], env=self.env, cwd=self.dir,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        wait_for(f"{self.example} does not listen",
                 lambda: self.process.poll() is not None or self.is_up())
        if self.process.poll() is not None:
            raise AssertionError(f"{self.example} ended: {self.process.returncode}")

    def stop(self):
        """Until the last of its processes has left the ports: a worker that outlives its
        master would answer for the next start."""
        code = stop(self.process)
        if code not in self.stop_codes:
            raise AssertionError(f"{self.example} ended with {code}")
        wait_for("the ports are closed",
                 lambda: not any(listens(site.port) for site in self.sites))

    def handshake(self, site, version=TLS13, der=None):
        """One full handshake, chain and name verified by a client without the
        module, and one use of the connection. Returns the certificate (DER); where
        `der` is given, another one is an error."""
        with socket.create_connection(("127.0.0.1", site.port), timeout=10) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.prelude(raw)
            context = site.context[version]
            with context.wrap_socket(raw, server_hostname=site.host) as tls:
                got = tls.getpeercert(binary_form=True)
                if der not in (None, got):
                    raise OSError(f"{site.name}: another certificate than expected")
                self.talk(tls, site)
                return got

    def log(self, begin=0):
        return self.log_path.read_bytes()[begin:].decode(errors="replace")

    def log_size(self):
        return self.log_path.stat().st_size

    def complaints(self, begin=0):
        return [line for line in self.log(begin).splitlines()
                if self.complaint.search(line) and not self.harmless.search(line)]


class Load:
    """Clients that handshake in a loop, over all sites and TLS versions."""

    def __init__(self, server, n_threads=2):
        self.server = server
        self.is_over = False
        self.n = 0
        self.failures = []
        self.n_own_failures = 0
        self.threads = [threading.Thread(target=self.loop) for _ in range(n_threads)]

    def loop(self):
        for site, version in itertools.cycle(
                list(itertools.product(self.server.sites, VERSIONS))):
            if self.is_over:
                return
            try:
                self.server.handshake(site, version)
            except self.server.own_failures:
                self.n_own_failures += 1
            except OSError as e:
                self.failures.append(f"{site.name} {VERSIONS[version]}: {e!r}")
            self.n += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        for thread in self.threads:
            thread.join()


def all_serve(server, n=1):
    """Whether each site serves the certificate in its files, n times in a row."""
    try:
        return all(server.handshake(site) == site.served
                   for _ in range(n) for site in server.sites)
    except OSError:
        return False


def handshakes(server):
    for site in server.sites:
        for version in VERSIONS:
            server.handshake(site, version, site.served)
            server.expect(True, f"handshake {VERSIONS[version]} {site.name}")


def memory(server):
    """No process of the server holds an imported key. Not of sanitized ones: they
    keep freed memory on purpose, and map terabytes."""
    dev = server.dev
    here, there = ("no private key in the memory of the server",
                   "the scan finds them in the keyring")
    if dev.is_sanitized:
        print("skipped", here)
        server.passed |= {f"{server.variant} {name}".lstrip() for name in (here, there)}
        return
    scan, patterns = dev.build / "tests/memscan", dev.work / "patterns"
    keys = [dev.work / f"{name}.key" for name in IMPORTED]
    subprocess.run([scan, "--save", patterns, *keys], check=True,
                   stdout=subprocess.DEVNULL)
    for pids, found, name in (
            (server.pids(), 0, here), ([dev.role_pid("keyvault-keyring")], 1, there)):
        done = subprocess.run([scan, "--patterns", patterns, *map(str, pids)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        server.expect(done.returncode == found, name,
               f"{len(pids)} processes" if done.returncode == found
               else done.stdout.decode())


def new_versions(server, bring):
    """Renew every key while clients handshake, and tell the server by bring()."""
    with Load(server) as load:
        for site in server.sites:
            site.create()
        for site in server.sites:
            server.install(site)
        bring()
        wait_for("the new certificates are served", lambda: all_serve(server, 5))
        n = load.n
        wait_for("the load goes on", lambda: load.n > n + 4 * len(server.sites))
    return load


def reload_under_load(server):
    for _ in range(5 if IS_FULL else 1):
        expect_none_failed(server, new_versions(server, server.reload),
                           "reload under load")


def expect_none_failed(server, load, name):
    server.expect(not load.failures, name, ", ".join(load.failures[:5])
                  or f"{load.n} handshakes, {load.n_own_failures or 'none'} failed")


def old_reference(server):
    """The keys are renewed, the files are not: they name the version before. Those of
    one site are, to see when the reload is over."""
    for site in server.sites:
        site.create()
    server.install(server.sites[0])
    server.reload()
    wait_for("the reload is over", lambda: all_serve(server, 3))
    server.expect(True, "reload with the reference to the former version")
    server.stop()
    server.start()
    server.expect(all_serve(server), "restart with the reference to the former version")


def daemon_down_at_start(server):
    server.stop()
    server.dev.stop()
    server.start()
    server.expect(True, "start while the daemon is down")
    begin_of_log = server.log_size()
    begin = time.monotonic()
    for site in server.sites:
        try:
            server.handshake(site)
            raise AssertionError(f"{site.name}: a handshake without the daemon")
        except OSError:
            pass
    seconds = time.monotonic() - begin
    server.expect(seconds < 5 * len(server.sites), "handshakes fail in time",
                  f"{seconds:.1f} s")
    if server.cause is not None:
        wait_for("the log says why",
                 lambda: server.cause.search(server.log(begin_of_log)), 3)
        server.expect(True, "the log says why")
    server.dev.start()
    server.expect(all_serve(server), "handshakes after the daemon has come up")


def daemon_restart(server):
    server.dev.stop()
    server.dev.start()
    server.expect(all_serve(server, 3), "handshakes after a restart of the daemon")


def named_in_docs(file):
    """The checks of a file that docs/provider.md names."""
    return subprocess.run(
        [ROOT / "tests/structure/provider_table.sh", "--names", f"servers/{file}"],
        check=True, stdout=subprocess.PIPE).stdout.decode().splitlines()


def life(build, *classes):
    """Live through everything with each class; then all that docs/provider.md says of
    this file, and of all servers, has passed."""
    wanted = set(named_in_docs(pathlib.Path(sys.argv[0]).name))
    passed = set()
    for server_class in classes:
        passed |= live(build, server_class)
        wanted |= {f"{server_class.variant} {name}".lstrip()
                   for name in named_in_docs("server.py")
                   if name not in server_class.without}
    check_docs(wanted, passed, classes)


def check_docs(wanted, passed, classes):
    """What docs/provider.md says of the variants that were run has passed."""
    missing = {name for name in wanted - passed
               if any(name.startswith(c.variant) for c in classes)}
    if missing:
        raise AssertionError(f"in docs/provider.md, not passed: {sorted(missing)}")


def live(build, server_class):
    with Dev(build) as dev, Backend() as backend:
        folder = dev.work / "ssl"
        folder.mkdir(mode=0o755)
        sites = [Site(dev, folder, name) for name in (*server_class.kinds, *IMPORTED)]
        server = server_class(dev, sites, backend)
        try:
            for site in sites:
                site.create()
                server.install(site)
            server.configure()
            server.start()
            run(server)
            return server.passed
        except BaseException:
            print(server.log()[-6000:], dev.log_text()[-2000:], sep="\n")
            raise
        finally:
            if server.process is not None:
                stop(server.process)


def run(server):
    handshakes(server)
    memory(server)
    reload_under_load(server)
    server.own_checks()
    old_reference(server)
    complaints = server.complaints()
    server.expect(not complaints, "nothing in the log", "\n".join(complaints[:20]))
    daemon_down_at_start(server)
    begin = server.log_size()
    daemon_restart(server)
    server.stop()
    complaints = server.complaints(begin)
    server.expect(not complaints, "nothing in the log after the daemon has come back",
           "\n".join(complaints[:20]))
