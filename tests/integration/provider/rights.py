"""A web server without a right to its key, with one, and without it again.

    python3 tests/integration/provider/rights.py BUILD

keyvaultd as root outside --dev, where rights count, in a mount namespace of its own;
skipped (77) where that is not allowed. The reasons are compared as in reasons.py.
"""
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile

from reasons import Keys, Refusal, handshake, refused_by_nginx
from checks import expect, finish
from dev import Nginx, free_port, sanitizers, wait_for

KEYRING, SERVICE, WEB = "games", "news", "www-data"
STATE, RUN = pathlib.Path("/var/lib/keyvault"), pathlib.Path("/run/keyvault")
CNF = """openssl_conf = openssl_init
[openssl_init]
providers = provider_sect
[provider_sect]
default = default_sect
keyvault = keyvault_sect
[default_sect]
activate = 1
[keyvault_sect]
module = {module}
activate = 1
server-uid = {uid}
[req]
distinguished_name = req_distinguished_name
[req_distinguished_name]
"""


def own_mounts():
    """Run again with private /var/lib and /run, or skip."""
    if os.environ.get("KEYVAULT_TEST_MOUNTS") == "1":
        return
    mounts = ("mount -t tmpfs -o mode=755 none /var/lib;"
              "mount -t tmpfs -o mode=755 none /run;")
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "sh", "-ec", mounts],
                                           stderr=subprocess.DEVNULL).returncode != 0:
        print("needs root and a mount namespace")
        sys.exit(77)
    os.environ["KEYVAULT_TEST_MOUNTS"] = "1"
    os.execvp("unshare", ["unshare", "--mount", "sh", "-ec", mounts + 'exec "$@"', "sh",
                          sys.executable, *sys.argv])


class Real:
    """keyvaultd with a user per role; `env` is that of a program with the module."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="keyvault-test."))
        self.work.chmod(0o711)
        self.process = None
        cnf = self.work / "openssl.cnf"
        cnf.write_text(CNF.format(module=self.build / "keyvault.so",
                                  uid=pwd.getpwnam(KEYRING).pw_uid))
        self.env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "OPENSSL_CONF": str(cnf)}
        self.env.update(sanitizers(self.build / "keyvault.so"))
        self.cli_env = {"PATH": f"{self.build}:{os.environ['PATH']}",
                        "OPENSSL_CONF": str(cnf)}

    def cli(self, *args):
        done = subprocess.run([self.build / "keyvault", *map(str, args)], env=self.cli_env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        expect(done.returncode == 0, " ".join(map(str, args[:2])), done.stderr.decode())
        return done.stdout

    def doctor(self, *args):
        """The findings of a run that must fail, by check."""
        done = subprocess.run([self.build / "keyvault", "doctor", "--json", *args],
                              env=self.cli_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        found = {f["check"]: f for f in json.loads(done.stdout)}
        failed = [f for f in found.values() if f["result"] == "FAIL"]
        expect(done.returncode == (1 if failed else 0), "doctor", done.stderr.decode())
        return found

    def __enter__(self):
        config = self.work / "keyvault.conf"
        config.write_text(f"api {{ listen = \"127.0.0.1:{free_port()}\" }}\n"
                          f"keyring {{ user = {KEYRING} allow-swap = on }}\n"
                          f"service {{ user = {SERVICE} }}\n")
        start = [self.build / "keyvaultd", "--config", config]
        # The first start makes the directories and says what is missing.
        subprocess.run(start, env=self.cli_env, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)
        subprocess.run(["runuser", "-u", KEYRING, "--", self.build / "keyvault-keyring",
                        "--dir", STATE, "--init-only", "--allow-swap", "--recovery-out",
                        STATE / "keyring/recovery.key"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        self.log = self.work / "keyvaultd.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(start, env=self.cli_env, stdout=log,
                                            stderr=subprocess.STDOUT)
        wait_for("keyvaultd is not ready", lambda: "keyvaultd: ready" in
                 self.log.read_text(errors="replace"), 30)
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
        shutil.rmtree(self.work, ignore_errors=True)


def doctor(real, uid):
    """What the log says to run finds the missing right; what it says to run gives it."""
    asked = ("--as", str(uid), "keyvault:///keys/web")
    found = real.doctor(*asked)["grant"]
    expect(found["result"] == "FAIL" and "may not use" in found["message"], "doctor: no grant",
           found)
    expect(subprocess.run(found["cure"], shell=True, env=real.cli_env,
                          stdout=subprocess.DEVNULL).returncode == 0, "doctor: the cure runs")
    found = real.doctor(*asked)
    expect(all(f["result"] != "FAIL" for f in found.values()), "doctor: and helps", found)


def full_disk(real):
    resize = ["mount", "-o", "remount,size={}", "/var/lib"]
    subprocess.run([word.format("20m") for word in resize], check=True)
    found = real.doctor()["disk"]
    expect(found["result"] == "FAIL" and "free space" in found["cure"], "doctor: no space", found)
    subprocess.run([word.format("2g") for word in resize], check=True)
    expect(real.doctor()["disk"]["result"] == "ok", "doctor: space again")


def traced(trace, nginx):
    """Opened by the master, written by the worker, who may not open it himself."""
    lines = trace.read_text().splitlines()
    stat = trace.stat()
    expect(stat.st_uid == 0 and stat.st_mode & 0o777 == 0o600, "trace: root's own")
    signed = [line.split() for line in lines if " SIGN " in line]
    expect(all(int(words[1]) in nginx.pids()[1:] for words in signed), "trace: of the worker",
           lines)
    results = [words[-1] for words in signed]
    expect(results[0] == "grant.denied" and "grant.revoked" in results and results[-1] == "ok",
           "trace: what became of each request", results)


def full_trace(real):
    """A trace that can be opened and not be written."""
    disk = real.work / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", disk], check=True)
    (disk / "trace").write_bytes(b"x" * 4096)
    (disk / "trace").chmod(0o600)
    real.cli("access", "grant", "unix:root", "--role", "tls-server", "--scope", "keys/web")
    done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", "keyvault:///keys/web", "-out",
                           "/dev/null", real.log], stderr=subprocess.PIPE,
                          env={**real.env, "KEYVAULT_TRACE": str(disk / "trace")})
    expect(done.returncode == 0 and (disk / "trace").stat().st_size == 4096,
           "trace: a full disk fails no signature", done.stderr.decode())
    subprocess.run(["umount", disk], check=True)


def main():
    own_mounts()
    uid = pwd.getpwnam(WEB).pw_uid
    grant = (f"unix:{WEB}", "--role", "tls-server", "--scope", "keys/web")
    cure = f"keyvault access grant {' '.join(grant)}"
    with Real(sys.argv[1]) as real:
        keys = Keys(real)
        server = keys.cert("web")
        for path in keys.dir.glob("*"):
            path.chmod(0o644)
        trace = real.work / "trace"
        with Nginx(real, [server], env={**real.env, "KEYVAULT_TRACE": str(trace)}) as nginx:
            refused_by_nginx(nginx, Refusal(
                "no right to the key", "web", "no grant to use the key", "grant.denied",
                f"unix:{WEB} may not use the key 'web'", cure), uid,
                "nginx: no right to the key")
            doctor(real, uid)
            expect(handshake(nginx.port["web"]), "nginx: the cure helps, without a reload")
            real.cli("access", "revoke", *grant)
            wait_for("the grant ends", lambda: not handshake(nginx.port["web"]))
            refused_by_nginx(nginx, Refusal(
                "a right taken away while in use", "web",
                "the grant to use the key was revoked", "grant.revoked",
                f"unix:{WEB} may not use the key 'web' any more", cure), uid,
                "nginx: a right taken away while in use")
            real.cli(*cure.split()[1:])
            expect(handshake(nginx.port["web"]), "nginx: the cure helps again")
            traced(trace, nginx)
            full_disk(real)
            full_trace(real)
    finish(__file__)


if __name__ == "__main__":
    main()
