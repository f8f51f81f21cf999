"""Each refusal has a reason of its own, names the key and tells the cure.

    python3 tests/integration/provider/reasons.py BUILD

The real keyvaultd --dev, asked by openssl(1) and by nginx. What nginx logs is compared
with docs/errors.md, which has the same line for each reason.
"""
import base64
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from api import Api  # noqa: E402
from checks import expect, finish  # noqa: E402
from dev import Dev, Nginx, wait_for  # noqa: E402

PLAIN = {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}
CA_CONF = """
[ca]
default_ca = one
[one]
database = index.txt
rand_serial = yes
new_certs_dir = .
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
"""
DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
VERSION = r"[0-9a-f]{32}"
URI = r"keyvault://[a-z]*/keys/{name}/[0-9a-f]{{32}}"


def stamp(moment):
    return moment.strftime("%Y%m%d%H%M%SZ")


class Keys:
    """Keys made to be refused, each with a certificate in a file for nginx."""

    def __init__(self, dev):
        self.dev = dev
        self.dir = dev.work / "keys"
        self.dir.mkdir()
        (self.dir / "ca.cnf").write_text(CA_CONF)
        (self.dir / "index.txt").touch()

    def openssl(self, *args):
        subprocess.run(["openssl", *map(str, args)], cwd=self.dir, env=PLAIN, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def make(self, name, begin=timedelta(hours=-1), end=timedelta(days=1)):
        """A key and certificate in files; both and the certificate alone."""
        now = datetime.now(timezone.utc)
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                     f"/CN={name}.example")
        self.openssl("ca", "-batch", "-selfsign", "-config", "ca.cnf", "-notext", "-keyfile",
                     f"{name}.key", "-in", f"{name}.csr", "-out", f"{name}.crt",
                     "-startdate", stamp(now + begin), "-enddate", stamp(now + end))
        text = "".join((self.dir / f"{name}.{kind}").read_text() for kind in ("key", "crt"))
        (self.dir / f"{name}.pem").write_text(text)

    def cert(self, name, *flags, **dates):
        self.make(name, **dates)
        self.dev.cli("cert", "import", name, "--file", self.dir / f"{name}.pem", *flags)
        return self.write(name)

    def key(self, name, *flags):
        self.make(name)
        self.dev.cli("key", "import", name, "--file", self.dir / f"{name}.key", *flags)
        return self.write(name)

    def write(self, name):
        self.dev.cli("key", "uri-pem", name, "--out", self.dir / f"{name}.uri.pem")
        return self.server(name)

    def server(self, name):
        return name, self.dir / f"{name}.crt", self.dir / f"{name}.uri.pem"


class Refusal:
    """What it is, its key, the reason for which that is refused, and the message."""

    def __init__(self, what, name, reason, error_id, message, cure=None):
        self.what = what
        self.name = name
        self.reason = reason
        hint = f"{cure}; " if cure else ""
        doctor = rf"run: keyvault doctor --as {{uid}} {URI.format(name=name)}"
        self.pattern = (rf"keyvault::{reason}.*keyvault: {re.escape(error_id)}: {message} "
                        rf"\({hint}{doctor}\)")

    def is_in(self, text, uid):
        return re.search(self.pattern.replace("{uid}", str(uid)), text)


def refusals():
    def new(noun, name):
        return f"make a new version, keyvault {noun} create {name}, and load it"

    none = "use a key that was made for it"
    return [
        Refusal("an expired certificate", "late",
                "the key or its certificate has expired", "key.expired",
                f"certificate late expired on {DATE}", new("cert", "late")),
        Refusal("an expired key", "late-key",
                "the key or its certificate has expired", "key.expired",
                f"key late-key expired on {DATE}", new("key", "late-key")),
        Refusal("a certificate not valid yet", "early",
                "the key or its certificate is not valid yet", "key.not-yet-valid",
                f"certificate early is not valid before {DATE}",
                "wait, or correct the clock of this machine"),
        Refusal("a disabled certificate", "off", "the key is disabled", "key.disabled",
                "certificate off is disabled",
                f"keyvault cert update off --version {VERSION} --enabled"),
        Refusal("a key that does not sign", "checks",
                "the key's operations do not include this one",
                "key.op-not-permitted",
                r"the operations of key checks \(verify\) do not include sign", none),
    ]


def handshake(port):
    """Whether a handshake succeeds, whatever the certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
            with context.wrap_socket(raw):
                return True
    except OSError:
        return False


def refused_by_nginx(nginx, refusal, uid, name=None):
    """A handshake fails, and nginx logs why."""
    before = len(nginx.errors())
    is_done = handshake(nginx.port[refusal.name])
    wait_for(f"nginx logs no reason for {refusal.what}:\n{nginx.errors()[before:]}",
             lambda: refusal.is_in(nginx.errors()[before:], uid))
    expect(not is_done, name or f"nginx: {refusal.what}")
    documented(nginx.errors()[before:], refusal)


def documented(log, refusal):
    """What nginx logged stands in docs/errors.md, but for names and numbers."""
    shown = next(line for line in log.splitlines() if refusal.reason in line)
    shown = shown[shown.index("SSL_do_handshake"):shown.index(" while SSL")]
    page = (ROOT / "docs" / "errors.md").read_text()
    known = [general(line) for line in page.splitlines() if "SSL_do_handshake" in line]
    expect(general(shown) in known, f"docs/errors.md: {refusal.what}", general(shown))


def general(line):
    """A line without what differs from one machine and moment to the next."""
    line = line.strip().strip("`|")
    for pattern, word in ((r"keyvault://[a-z]*/", "keyvault:///"), (r"\b[0-9a-f]{32}\b", "V"),
                          (DATE, "DATE"), (r"--as \d+", "--as UID"), (r"uid \d+", "uid UID"),
                          (r"/\S*/keys\.sock", "keys.sock"), (r"within \d+ ms", "within N ms"),
                          (r"(keys.sock): No such file or directory", r"\1: Connection refused"),
                          (r"error:[0-9A-F]{8}", "error")):
        line = re.sub(pattern, word, line)
    return re.sub(r"\b(late-key|late|early|off|checks|good|web)\b", "NAME", line)


def dgst(dev, key):
    return dev.run("openssl", "dgst", "-sha256", "-sign", key, "-out", "/dev/null",
                   dev.dir / "env", check=False)


def made_to_be_refused(dev, keys):
    end = timedelta(seconds=5)
    late = datetime.now(timezone.utc) + end
    servers = [
        keys.cert("late", end=end),
        keys.key("late-key", "--expires", str(int(late.timestamp()))),
        keys.cert("early", begin=timedelta(hours=1)),
        keys.cert("off", "--disabled"),
        keys.key("checks", "--ops", "verify"),
        keys.cert("good"),
    ]
    wait_for("the certificate does not expire", lambda: datetime.now(timezone.utc) > late)
    time.sleep(1.1)
    return servers


def each_reason(dev, keys, worker):
    servers = made_to_be_refused(dev, keys)
    with Nginx(dev, servers) as nginx:
        expect(handshake(nginx.port["good"]), "nginx: starts with all keys, the good one signs")
        for refusal in refusals():
            done = dgst(dev, keys.dir / f"{refusal.name}.uri.pem")
            text = done.stderr.decode()
            expect(done.returncode != 0 and refusal.is_in(text, os.geteuid()),
                   f"openssl: {refusal.what}", text)
            refused_by_nginx(nginx, refusal, worker)
        deleted_while_in_use(dev, nginx, worker)


def deleted_while_in_use(dev, nginx, worker):
    api = Api(dev.dir / "api.sock")
    status, _ = api.call("DELETE", "/certificates/good")
    api.close()
    expect(status == 200, "the good one is deleted")
    wait_for("the grant ends", lambda: not handshake(nginx.port["good"]))
    refused_by_nginx(nginx, Refusal("a key deleted while in use", "good",
                                    "the key was deleted", "key.deleted",
                                    "the key 'good' was deleted"), worker)


# --- the way to the key ------------------------------------------------------------


def settings(dev, name, *lines):
    """An environment with other lines in the module's section."""
    text = (dev.dir / "openssl.cnf").read_text()
    for line in lines:
        text = re.sub(rf"(?m)^{line.split()[0]} *=.*\n", "", text)
    section = "[keyvault_sect]\n"
    expect(section in text, f"{name}: openssl.cnf has a section for the module")
    path = dev.work / f"{name}.cnf"
    path.write_text(text.replace(section, section + "".join(f"{line}\n" for line in lines)))
    return dict(dev.env, OPENSSL_CONF=str(path))


def wrong_server(dev, server, worker):
    env = settings(dev, "uid", f"server-uid = {os.geteuid() + 1}")
    with Nginx(dev, [server], env=env) as nginx:
        refused_by_nginx(nginx, Refusal(
            "another user's socket", "web",
            "the key socket belongs to an unexpected user", "client.wrong-server",
            rf"key web: \S+/keys.sock is served by uid {os.geteuid()}, which is not trusted",
            "set server-uid in the keyvault section of openssl.cnf to the keyring's uid"),
            worker)


def timeout_and_down(dev, server, worker):
    env = settings(dev, "short", "reply-timeout-ms = 400", "connect-timeout-ms = 400")
    with Nginx(dev, [server], env=env) as nginx:
        expect(handshake(nginx.port["web"]), "nginx: signs")
        keyring = dev.role_pid("keyvault-keyring")
        os.kill(keyring, signal.SIGSTOP)
        refused_by_nginx(nginx, Refusal(
            "a silent daemon", "web", "the key daemon did not answer in time", "client.timeout",
            "key web: the key daemon did not answer within 400 ms",
            "see the status of keyvault-keyring; reply-timeout-ms sets the limit"), worker)
        os.kill(keyring, signal.SIGCONT)
        wait_for("nginx goes on", lambda: handshake(nginx.port["web"]))
        dev.stop()
        refused_by_nginx(nginx, Refusal(
            "no daemon", "web", "the key daemon cannot be reached", "client.unreachable",
            r"key web: cannot reach \S+/keys.sock: (No such file.*|Connection refused)",
            r"is keyvaultd running\?"), worker)


def other_key(dev, keys, worker):
    """A key file that says web and holds the public key of another one, loaded while the
    daemon, which would refuse it at once, is down."""
    def read(name):
        text = (keys.dir / f"{name}.uri.pem").read_text()
        return base64.b64decode("".join(text.splitlines()[1:-1]))

    web, twin = read("web"), read("twin")
    point = 65  # uncompressed, at the end of the SPKI, which is last
    lie = web[:-point] + twin[-point:]
    (keys.dir / "lie.uri.pem").write_text(
        "-----BEGIN KEYVAULT KEY URI-----\n" + base64.encodebytes(lie).decode()
        + "-----END KEYVAULT KEY URI-----\n")
    server = ("web", keys.dir / "twin.crt", keys.dir / "lie.uri.pem")
    with Nginx(dev, [server]) as nginx:
        dev.start()
        refused_by_nginx(nginx, Refusal(
            "another key in the vault", "web",
            "the vault's key is not the one that was loaded", "client.key-mismatch",
            f"key web: the daemon's key {URI.format(name='web')} has another public key "
            "than the one loaded", "write the key file again with `keyvault key uri-pem` "
            "and restart this program"), worker)


def main():
    worker = 33 if os.geteuid() == 0 else os.geteuid()
    with Dev(sys.argv[1]) as dev:
        keys = Keys(dev)
        each_reason(dev, keys, worker)
        server = keys.cert("web")
        keys.cert("twin")
        wrong_server(dev, server, worker)
        timeout_and_down(dev, server, worker)
        other_key(dev, keys, worker)
    finish(__file__)


if __name__ == "__main__":
    main()
