"""Backup blobs and the keys that programs use: what comes back after a purge signs at once
through the provider, in whatever state it was before; and a restart changes nothing.

    python3 tests/integration/api/backup.py BUILD
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from api import Api  # noqa: E402
from dev import Dev, children, wait_for  # noqa: E402


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Vault:
    def __init__(self, dev):
        self.dev = dev
        self.api = Api(dev.dir / "api.sock")

    def ok(self, method, path, body=None, status=200):
        reply = self.api.send(method, path, body)
        expect(reply.status == status, f"{method} {path}: {reply.status} {reply.body[:200]}")
        return reply.json

    def drop(self, collection, name):
        self.ok("DELETE", f"/{collection}/{name}")
        self.ok("DELETE", f"/deleted{collection}/{name}", status=204)

    def signs(self, key, public):
        """Sign with a program that loads the key; the vault's old public key must agree."""
        signed = self.dev.run("openssl", "dgst", "-sha256", "-sign", key, "-out",
                              self.dev.work / "signature", self.dev.dir / "env", check=False)
        if signed.returncode != 0:
            return False
        self.dev.run("openssl", "dgst", "-sha256", "-verify", public, "-signature",
                     self.dev.work / "signature", self.dev.dir / "env")
        return True


def keys(vault, kind):
    """A key in use, changed since its backup, purged and back."""
    name = "web-" + kind.lower()
    work = vault.dev.work
    vault.ok("POST", f"/keys/{name}/create", {"kty": kind})
    pem, public = work / (name + ".pem"), work / (name + ".pub")
    pem.write_bytes(vault.dev.cli("key", "uri-pem", name))
    vault.dev.run("openssl", "pkey", "-in", pem, "-pubout", "-out", public)
    expect(vault.signs(pem, public), "it signs at first")
    blob = vault.ok("POST", f"/keys/{name}/backup")
    for tags in ({"a": "1"}, {"a": "2"}, {"a": "3"}):
        vault.ok("PATCH", f"/keys/{name}", {"tags": tags})
        expect(vault.signs(pem, public), "it signs in a later state")
    newer = vault.ok("POST", f"/keys/{name}/backup")
    vault.drop("keys", name)
    expect(not vault.signs(pem, public), "what is purged does not sign")
    back = vault.ok("POST", "/keys/restore", blob)
    expect("tags" not in back, "an older state")
    expect(vault.signs(pem, public), "it signs as soon as it is back")
    vault.drop("keys", name)
    expect(vault.ok("POST", "/keys/restore", newer)["tags"] == {"a": "3"}, "a newer state")
    expect(vault.signs(pem, public), "and so does that one")
    vault.ok("PATCH", f"/keys/{name}", {"attributes": {"enabled": False}})
    wait_for("the key is off", lambda: not vault.signs(pem, public))
    vault.ok("PATCH", f"/keys/{name}", {"attributes": {"enabled": True}})
    expect(vault.signs(pem, public), "and can be changed as before")


def restart(vault):
    """A restored key after a restart of keyring and service, and once more restored."""
    pem, public = vault.dev.work / "web-ec.pem", vault.dev.work / "web-ec.pub"
    blob = vault.ok("POST", "/keys/web-ec/backup")
    vault.api.close()
    vault.dev.stop()
    vault.dev.start()
    expect(vault.signs(pem, public), "it signs after a restart")
    vault.drop("keys", "web-ec")
    vault.ok("POST", "/keys/restore", blob)
    expect(vault.signs(pem, public), "a blob outlives the process that made it")


def another_vault(vault, build):
    """A blob opens in its own installation only."""
    blob = vault.ok("POST", "/keys/web-ec/backup")
    with Dev(build) as dev:
        reply = Api(dev.dir / "api.sock").send("POST", "/keys/restore", blob)
        expect(reply.status == 400 and reply.error("id") == "seal.blob-damaged",
               f"{reply.status} {reply.body}")


def main():
    with Dev(sys.argv[1]) as dev:
        vault = Vault(dev)
        processes = children(dev.process.pid)
        for kind in ("EC", "RSA"):
            keys(vault, kind)
            print(f"ok {kind} keys", flush=True)
        expect(children(dev.process.pid) == processes, "a process ended")
        restart(vault)
        print("ok restart", flush=True)
        another_vault(vault, sys.argv[1])
        print("ok another installation")


if __name__ == "__main__":
    main()
