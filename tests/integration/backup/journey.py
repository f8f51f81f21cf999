"""A backup of a store under write load, and the way back with the recovery key alone.

    python3 tests/integration/backup/journey.py BUILD

1. backup create while others write: proved, listed, mode 0600, never overwritten;
2. verify; every altered, cut or spliced file is refused by verify and by restore;
3. the directory is removed; restore with the recovery key into a new one: same tenant,
   keys that sign what the old public keys verify, secrets, certificates, nginx;
4. the old keyfile opens nothing in it, the recovery key opens its backups as well;
5. restore with a keyfile, into directories that are not empty, with wrong secrets;
6. kill -9 while a backup is made: none is listed, and no file is left after the next start;
7. only over api.sock.

KEYVAULT_TEST_FULL=1: 10,000 certificates, and every key signs.
"""
import json
import os
import pathlib
import random
import shutil
import sqlite3
import signal
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from dev import Dev, Nginx, wait_for  # noqa: E402

KEYS = {"rsa": ["--type", "RSA"], "p256": ["--type", "EC"],
        "p384": ["--type", "EC", "--curve", "P-384"],
        "p521": ["--type", "EC", "--curve", "P-521"],
        "p256k": ["--type", "EC", "--curve", "P-256K"], "ed": ["--type", "Ed25519"]}
FULL = os.environ.get("KEYVAULT_TEST_FULL") == "1"
N_CERTS = 10000 if FULL else 12


def expect(condition, what):
    if not condition:
        raise AssertionError(what)
    print(f"ok  {what}", flush=True)


def fails(dev, error, *args):
    done = dev.run(dev.build / "keyvault", *args, check=False)
    text = done.stderr.decode()
    expect(done.returncode != 0 and f"keyvault: {error}:" in text,
           f"{args[0]} {args[1] if len(args) > 1 else ''}: {error}" + (
               "" if error in text else f" (got: {text})"))
    return done


def listed(dev):
    return [item["file"] for item in json.loads(dev.cli("backup", "list", "--json"))]


class Load(threading.Thread):
    """Writes secrets until it is told to end."""

    def __init__(self, dev):
        super().__init__()
        self.dev, self.n, self.is_over = dev, 0, False

    def run(self):
        while not self.is_over:
            self.dev.cli("secret", "set", f"load-{self.n % 50}", "--value", f"v{self.n}")
            self.n += 1


def fill(dev):
    for name, flags in KEYS.items():
        dev.cli("key", "create", name, *flags)
    dev.cli("secret", "set", "one", "--value", "eins")
    dev.make_key("site", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
    for i in range(N_CERTS):
        dev.cli("cert", "create", f"c{i}", "--subject", f"CN=c{i}", "--dns",
                f"c{i}.example", "--issuer", "Self", "--key-type",
                "RSA" if i % 4 == 3 else "EC")
    for name in KEYS:
        (dev.work / f"{name}.uri.pem").write_bytes(dev.cli("key", "uri-pem", name))
        (dev.work / f"{name}.jwk").write_bytes(dev.cli("key", "show", name, "--json"))
    dev.cli("access", "grant", "unix:nobody", "--role", "crypto-user")


def make_backup(dev, file):
    load = Load(dev)
    load.start()
    wait_for("writes", lambda: load.n > 3)
    before = load.n
    record = json.loads(dev.cli("backup", "create", file, "--json"))
    load.is_over = True
    load.join()
    expect(load.n >= before, "the store was written meanwhile")
    expect(record["keys"] >= len(KEYS) + 1 + N_CERTS, "every key was opened")
    expect(record["keyTypes"] >= 6, "one of each kind signed")
    expect(file.stat().st_mode & 0o777 == 0o600, "the file has mode 0600")
    expect(listed(dev) == [str(file)], "it is listed")
    fails(dev, "backup.exists", "backup", "create", file)
    dev.cli("backup", "verify", file)
    leftovers = [p.name for p in (dev.dir / "db").iterdir() if p.name.endswith(".tmp")]
    expect(leftovers == [], "no work file is left")
    return record


def spoiled(data, other):
    """Some of all the ways in which a file can be wrong; the unit test has more."""
    rng = random.Random(7)
    for where in [0, 9, 20, 60, len(data) - 1] + [rng.randrange(len(data)) for _ in range(6)]:
        copy = bytearray(data)
        copy[where] ^= 1 << rng.randrange(8)
        yield f"byte {where}", bytes(copy)
    yield "cut", data[:-1]
    yield "cut short", data[:100]
    yield "empty", b""
    yield "longer", data + b"\0"
    half = len(data) // 2
    yield "spliced", data[:half] + other[half:half + len(data) - half]


def spoil(dev, good, other, recovery):
    bad, out = dev.work / "bad", dev.work / "bad-out"
    for i, (what, data) in enumerate(spoiled(good.read_bytes(), other.read_bytes())):
        bad.write_bytes(data)
        done = dev.run(dev.build / "keyvault", "restore", bad, out, "--recovery-file",
                       recovery, check=False)
        if done.returncode == 0 or out.exists():
            raise AssertionError(f"{what} was restored")
        if i % 3 == 0 and dev.run(dev.build / "keyvault", "backup", "verify", bad,
                                  check=False).returncode == 0:
            raise AssertionError(f"{what} was verified")
    expect(True, "no altered file was verified or restored, and none left a directory")


def killed(dev):
    """kill -9 of the service at different moments of a backup."""
    before = listed(dev)
    for delay in (0.0, 0.01, 0.02, 0.05, 0.1):
        file = dev.work / f"killed-{delay}"
        child = subprocess.Popen([dev.build / "keyvault", "backup", "create", file],
                                 env=dev.env, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        try:
            child.wait(delay)
        except subprocess.TimeoutExpired:
            pass
        pid = dev.role_pid("keyvault-service")
        if pid:
            os.kill(pid, signal.SIGKILL)
        code = child.wait(60)
        wait_for("the service is back", lambda: dev.run(
            dev.build / "keyvault", "status", check=False).returncode == 0, 60)
        leftovers = [p for p in (dev.dir / "db").iterdir() if p.name.endswith(".tmp")]
        is_listed = str(file) in listed(dev)  # a lost reply leaves the file, listed or not
        if leftovers or (is_listed and not file.exists()) or (code == 0 and not is_listed):
            raise AssertionError((delay, leftovers, file.exists(), listed(dev), code))
        file.unlink(missing_ok=True)
    expect(listed(dev)[:len(before)] == before, "5 kills: listed is what was proved, "
           "and no work file outlives a start")


def sign_all(dev):
    data = dev.work / "data"
    data.write_bytes(b"signed before and after")
    for name in KEYS:
        old = json.loads((dev.work / f"{name}.jwk").read_bytes())["key"]
        new = json.loads(dev.cli("key", "show", name, "--json"))["key"]
        old["kid"], new["kid"] = (k["kid"].split("/keys/")[1] for k in (old, new))
        if old != new:  # but for the port in the id
            raise AssertionError(f"{name} is another key")
        signature = dev.work / f"{name}.sig"
        dev.cli("key", "sign", name, "--file", data, "--out", signature)
        dev.cli("key", "verify", name, "--file", data, "--signature", signature)
    for i in range(N_CERTS):
        dev.cli("key", "sign", f"c{i}", "--file", data, "--out", dev.work / "c.sig")
        dev.cli("key", "verify", f"c{i}", "--file", data, "--signature", dev.work / "c.sig")
    expect(True, f"{len(KEYS) + N_CERTS} keys sign as before")


def openssl_signs(dev):
    key, data = dev.work / "p256.uri.pem", dev.work / "data"
    pub = dev.run("openssl", "pkey", "-in", key, "-pubout").stdout
    (dev.work / "p256.pub").write_bytes(pub)
    signature = dev.run("openssl", "dgst", "-sha256", "-sign", key, data).stdout
    (dev.work / "p256.osig").write_bytes(signature)
    env = {k: v for k, v in dev.env.items() if k != "OPENSSL_CONF"}
    done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", dev.work / "p256.pub",
                           "-signature", dev.work / "p256.osig", data], env=env,
                          stdout=subprocess.PIPE)
    expect(done.returncode == 0, "openssl signs through the provider with the old file")


def nginx_serves(dev):
    if shutil.which("nginx") is None:
        return
    with Nginx(dev, [("site", dev.work / "site.crt", dev.work / "site.uri.pem")]) as nginx:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{nginx.port['site']}",
             "-CAfile", dev.work / "site.crt", "-verify_return_error"],
            input=b"", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={k: v for k, v in dev.env.items() if k != "OPENSSL_CONF"})
        expect(done.returncode == 0 and b"Verify return code: 0" in done.stdout,
               "nginx serves TLS with the restored key")


def refusals(dev, backup, recovery):
    full = dev.work / "full"
    full.mkdir()
    (full / "x").write_text("x")
    fails(dev, "restore.not-empty", "restore", backup, full, "--recovery-file", recovery)
    expect([p.name for p in full.iterdir()] == ["x"], "and is left as it was")
    wrong = dev.work / "wrong.key"
    wrong.write_text("0" * 40 + "\n")
    out = dev.work / "out"
    fails(dev, "recovery.bad-checksum", "restore", backup, out, "--recovery-file", wrong)
    wrong.write_bytes(b"\1" * 32)
    fails(dev, "slot.wrong-secret", "restore", backup, out, "--keyfile", wrong)
    fails(dev, "restore.no-secret", "restore", backup, out, "--keyfile", dev.work / "none")
    fails(dev, "cli.usage", "restore", backup, out)
    expect(not out.exists(), "and no directory was made")
    remote = dict(dev.env, KEYVAULT_API=dev.env["KEYVAULT_URL"])
    done = subprocess.run([dev.build / "keyvault", "backup", "create", out], env=remote,
                          stderr=subprocess.PIPE)
    expect(done.returncode == 4 and b"backup.local-only" in done.stderr,
           "no backup over https")


def restored(build, work, backup, *secret):
    """A Dev over what was restored, with the files of the old one."""
    dev = Dev(build, directory=work)
    subprocess.run([build / "keyvault", "restore", backup, dev.dir, *secret], check=True,
                   stdout=subprocess.DEVNULL)
    return dev


def lost_key(dev):
    """A vault whose key row is gone is damage, not a purge under way."""
    dev.cli("vault", "create", "lost")
    dev.cli("secret", "set", "s", "--value", "v", "--vault", "lost")
    db = sqlite3.connect(dev.dir / "db" / "keyvault.db", timeout=10)
    (kept,) = db.execute("SELECT * FROM obj WHERE kind = 11 ORDER BY id DESC LIMIT 1")
    db.execute("DELETE FROM obj WHERE id = ?", kept[:1])
    db.execute("UPDATE tally SET n = n - 1 WHERE what = 'rows'")  # or that is noticed
    db.commit()
    fails(dev, "backup.not-proved", "backup", "create", dev.work / "lost.backup")
    expect(not (dev.work / "lost.backup").exists(), "no file is left")
    db.execute(f"INSERT INTO obj VALUES ({','.join('?' * len(kept))})", kept)
    db.execute("UPDATE tally SET n = n + 1 WHERE what = 'rows'")
    db.commit()
    db.close()
    dev.cli("backup", "create", dev.work / "found.backup")
    (dev.work / "found.backup").unlink()


def killed_restore(build, work, backup, recovery):
    """kill -9 of a restore: what is left is whole, or not started."""
    refused = 0
    for delay in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1):
        directory = work / "half" / "dev"
        directory.parent.mkdir()
        child = subprocess.Popen([build / "keyvault-restore", backup, directory,
                                  "--recovery-file", recovery],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            child.wait(delay)
        except subprocess.TimeoutExpired:
            child.kill()
        code = child.wait(60)
        if (directory / "keyring" / "slots").exists():
            dev = Dev(build, directory=directory.parent)
            try:
                with dev:
                    expect(dev.cli("secret", "get", "one") == b"eins", "it is whole")
            except RuntimeError as error:
                if code == 0 or "boot.restoring" not in str(error):
                    raise
                refused += 1
        shutil.rmtree(directory.parent)
    print(f"ok  7 kills of a restore: {refused} half ones were refused", flush=True)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    work = pathlib.Path(tempfile.mkdtemp(prefix="keyvault-backup."))
    backup, later, recovery = work / "backup", work / "later", work / "recovery.key"
    try:
        with Dev(build, directory=work) as dev:
            fill(dev)
            tenant = dev.env["KEYVAULT_TENANT"]
            make_backup(dev, backup)
            shutil.copy(dev.dir / "recovery.key", recovery)
            shutil.copy(dev.dir / "keyring" / "keyfile", work / "old.keyfile")
            dev.cli("secret", "set", "late", "--value", "after the backup")
            dev.cli("backup", "create", later)
            expect(listed(dev) == [str(backup), str(later)], "both are listed")
            spoil(dev, backup, later, recovery)
            refusals(dev, backup, recovery)
            lost_key(dev)
            killed(dev)
        shutil.rmtree(work / "dev")
        killed_restore(build, work, backup, recovery)
        dev = restored(build, work, backup, "--recovery-file", recovery)
        expect((dev.dir / "keyring" / "keyfile").read_bytes() !=
               (work / "old.keyfile").read_bytes(), "the keyfile is a new one")
        with dev:
            expect(dev.env["KEYVAULT_TENANT"] == tenant, "it is the same installation")
            expect(dev.cli("secret", "get", "one") == b"eins", "secrets are back")
            expect(dev.run(build / "keyvault", "secret", "get", "late",
                           check=False).returncode == 3, "the store is that of its day")
            expect(b"unix:nobody" in dev.cli("access", "list"), "roles are back")
            sign_all(dev)
            openssl_signs(dev)
            nginx_serves(dev)
            dev.cli("backup", "verify", backup)
            dev.cli("backup", "create", work / "second")
            fails(dev, "slot.wrong-secret", "restore", work / "second", work / "no",
                  "--keyfile", work / "old.keyfile")
            shutil.copy(dev.dir / "keyring" / "keyfile", work / "new.keyfile")
        shutil.rmtree(work / "dev")
        with restored(build, work, work / "second", "--keyfile",
                      work / "new.keyfile") as dev:
            sign_all(dev)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("all good", flush=True)


if __name__ == "__main__":
    main()
