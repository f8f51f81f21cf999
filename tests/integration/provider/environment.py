"""What programs say when their environment is wrong: no module, providers in a bad order,
a URI where a file is wanted.

    python3 tests/integration/provider/environment.py BUILD

Runs each program that docs/errors.md shows in that situation; its words must be those of
the page, and keyvault doctor must find what is wrong.
"""
import json
import pathlib
import re
import subprocess
import sys

from reasons import DATE, Keys
from checks import expect, finish
from dev import Dev, Nginx

ROOT = pathlib.Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "errors.md"
TITLE = "## When a program's environment is wrong"
LIST = "default = default_sect\nkeyvault = keyvault_sect\n"
MODULES = pathlib.Path("/usr/lib/apache2/modules")


def shown():
    """Per situation of the page what each program says: {heading: [(program, text)]}."""
    section = PAGE.read_text().split(TITLE + "\n")[1].split("\n## ")[0]
    found = {}
    for part in section.split("\n### ")[1:]:
        heading = part.splitlines()[0]
        block = part.split("```\n")[1]
        found[heading] = [re.match(r"(\S+) +(.*)", line).groups()
                          for line in block.splitlines()]
    return found


def general(text):
    """Words without what differs from one machine and moment to the next."""
    for pattern, word in ((r"[^\s\"'(=]*/[^\s\"',)]*\.(pem|crt|c|cfg|key)\b", "FILE"),
                          (r"[^\s\"'(]*keyvault:///keys/web", "URI"),
                          (r"\b[0-9A-F]{12,16}:error", "error"), (r":[0-9]+:", ":N:"),
                          (r"\[[^\]]*\] ?", ""), (r"\([0-9]+\) ", ""), (r"_ssl\.c:\d+", "_ssl.c:N"),
                          (r"FILE:\d+", "FILE:N"), (DATE, "DATE"), (r"port \d+", "port N")):
        text = re.sub(pattern, word, text)
    return re.sub(r" +", " ", text)


class Programs:
    """One method per program that the page names: what it says in an environment."""

    def __init__(self, dev, server):
        self.dev = dev
        self.server = server
        self.name, self.crt, self.pem = server
        self.bundle = dev.work / "bundle.pem"
        self.bundle.write_text(self.crt.read_text() + self.pem.read_text())

    def run(self, env, *args):
        done = subprocess.run([str(a) for a in args], env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        return done.stdout.decode(errors="replace")

    def write(self, name, text):
        path = self.dev.work / name
        path.write_text(text)
        return path

    def nginx(self, env, key=None):
        server = (self.name, self.crt, key or self.pem)
        nginx = Nginx(self.dev, [server], env=env)
        return self.run(env, "nginx", "-t", "-p", nginx.dir, "-c", nginx.dir / "nginx.conf",
                        "-e", nginx.dir / "error.log")

    def openssl(self, env, key=None):
        return self.run(env, "openssl", "dgst", "-sha256", "-sign", key or self.pem, "-out",
                        "/dev/null", self.crt)

    def genpkey(self, env):
        return self.run(env, "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-out", "/dev/null")

    def python(self, env):
        return self.run(env, "/usr/bin/python3", "-c", "import ssl, sys; ssl.SSLContext("
                        "ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*sys.argv[1:])",
                        self.crt, self.pem)

    def curl(self, env):
        port = self.dev.env["KEYVAULT_URL"].rsplit(":", 1)[1].strip("/")
        return self.run(env, "/usr/bin/curl", "-skS", "--cert", self.crt, "--key", self.pem,
                        f"https://127.0.0.1:{port}/")

    def haproxy(self, env):
        times = "".join(f" timeout {t} 1s\n" for t in ("client", "server", "connect"))
        path = self.write("haproxy.cfg", f"defaults\n mode http\n{times}frontend web\n"
                          f" bind 127.0.0.1:18444 ssl crt {self.bundle}\n")
        return self.run(env, "haproxy", "-c", "-f", path)

    def stunnel(self, env):
        path = self.write("stunnel.conf", "foreground = yes\npid =\n[web]\n"
                          "accept = 127.0.0.1:18445\nconnect = 127.0.0.1:1\n"
                          f"cert = {self.crt}\nkey = {self.pem}\n")
        return self.run(env, "stunnel", path)

    def apache(self, env):
        log = self.dev.work / "apache.log"
        log.unlink(missing_ok=True)
        load = "".join(f"LoadModule {m}_module {MODULES}/mod_{m}.so\n"
                       for m in ("mpm_event", "authz_core", "ssl"))
        path = self.write("apache.conf", f"{load}ServerName web.example\n"
                          f"PidFile {self.dev.work}/apache.pid\n"
                          f"DefaultRuntimeDir {self.dev.work}\nErrorLog {log}\n"
                          "Listen 127.0.0.1:18443\nSSLEngine on\n"
                          f"SSLCertificateFile {self.crt}\nSSLCertificateKeyFile {self.pem}\n")
        said = self.run(env, "apache2", "-d", self.dev.work, "-f", path, "-X")
        return said + (log.read_text() if log.exists() else "")


def compare(page, heading, words):
    """`words` of each program hold its line of the page."""
    for program, text in page[heading]:
        said = words(program)
        expect(general(text) in general(said), f"{heading}: what {program} says",
               f"{general(text)!r} is not in\n{general(said)}")


def diagnosed(dev, env, heading, check, message):
    done = subprocess.run([dev.build / "keyvault", "doctor", "--json"], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finding = {f["check"]: f for f in json.loads(done.stdout)}.get(check, {})
    expect(finding.get("result") == "FAIL" and re.search(message, finding["message"]),
           f"{heading}: what doctor finds", finding)


def environments(dev):
    """Per heading of the page: environments, what the doctor finds in each."""
    text = (dev.dir / "openssl.cnf").read_text()

    def conf(name, old, new, more=""):
        if old not in text:
            raise AssertionError(f"{name}: openssl.cnf changed")
        path = dev.work / f"{name}.cnf"
        path.write_text(text.replace(old, new) + more)
        return dict(dev.env, OPENSSL_CONF=str(path))

    def properties(name, value):
        return conf(name, "[openssl_init]\n", "[openssl_init]\nalg_section = algs\n",
                    f"\n[algs]\ndefault_properties = {value}\n")

    bare = {k: v for k, v in dev.env.items() if k != "OPENSSL_CONF"}
    return {
        "The module is not loaded": [
            (bare, "openssl.cnf", "does not activate the keyvault"),
            (dict(bare, OPENSSL_CONF="/nowhere/openssl.cnf"), "openssl.cnf", "cannot be read"),
            (conf("broken", "[openssl_init]\n", "[openssl_init\n"), "openssl.cnf", "cannot be read"),
            (conf("module", "module = ", "module = /nowhere"), "module", "does not load"),
            (conf("sleeping", "keyvault = keyvault_sect\n", ""), "openssl.cnf", "not activate"),
        ],
        "The default provider is not active": [
            (conf("inactive", "[default_sect]\nactivate = 1", "[default_sect]"), "openssl.cnf",
             "keyvault but not default"),
            (conf("unlisted", "default = default_sect\n", ""), "openssl.cnf", "not list default"),
            (properties("required", "provider=keyvault"), "properties", "prefers keyvault"),
        ],
        "keyvault stands in front of default, or is preferred": [
            (conf("first", LIST, "keyvault = keyvault_sect\ndefault = default_sect\n"),
             "openssl.cnf", "keyvault before default"),
            (properties("preferred", "?provider=keyvault"), "properties", "prefers keyvault"),
        ],
    }


def main():
    page = shown()
    with Dev(sys.argv[1]) as dev:
        if dev.is_sanitized:
            print("most of these programs do not load a sanitized module")
            sys.exit(77)
        server = Keys(dev).cert("web")
        programs = Programs(dev, server)
        by_uri = {"openssl-uri": lambda env: programs.openssl(env, "keyvault:///keys/web"),
                  "openssl-genpkey": programs.genpkey,
                  "nginx-uri": lambda env: programs.nginx(env, "keyvault:///keys/web")}

        def say(program, env):
            return by_uri.get(program, getattr(programs, program, None))(env)

        for heading, cases in environments(dev).items():
            for i, (env, check, message) in enumerate(cases):
                diagnosed(dev, env, heading, check, message)
                if "in front" in heading or i == 0:
                    compare(page, heading, lambda program, env=env: say(program, env))
                else:
                    compare({heading: page[heading][:1]}, heading,
                            lambda program, env=env: say(program, env))
        heading = "A URI where the program wants a file"
        compare(page, heading, lambda program: say(program, dev.env))
        expect(page.keys() == environments(dev).keys() | {heading}, "no other situation is shown")
    finish(__file__)


if __name__ == "__main__":
    main()
