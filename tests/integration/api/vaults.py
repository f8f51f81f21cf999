"""Several vaults in one installation, over HTTPS, the socket, the CLI and openssl(1).

    python3 tests/integration/api/vaults.py BUILD
"""
import json
import os
import pathlib
import signal
import sqlite3
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from api import Api, Https  # noqa: E402
from dev import Dev, wait_for  # noqa: E402

MANY = 60


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Vault(Api):
    """One vault over api.sock, by its host name."""

    def __init__(self, dev, name):
        super().__init__(dev.dir / "api.sock")
        self.host = {"Host": f"{name}.vault.localhost"}

    def ask(self, method, path, body=None, status=200):
        reply = self.send(method, path, body, headers=self.host)
        expect(reply.status == status, f"{method} {path}: {reply.status} {reply.body[:300]}")
        return reply.json


def cli_refused(dev, code, *args):
    done = dev.run(dev.build / "keyvault", *args, check=False)
    expect(done.returncode == code, f"{args}: {done.returncode} {done.stderr}")
    return done.stderr.decode()


# --- the command line ----------------------------------------------------------------------


def commands(dev):
    made = json.loads(dev.cli("vault", "create", "Second", "--sku", "premium",
                              "--retention-days", "30", "--tags", "a=1,b=2", "--json"))
    expect(made["name"] == "second" and made["sku"] == "premium", f"{made}")
    expect(made["softDeleteRetentionInDays"] == 30 and made["tags"] == {"a": "1", "b": "2"},
           f"{made}")
    shown = dev.cli("vault", "show", "second").decode()
    expect("30 days" in shown and "a=1" in shown and "live" in shown, shown)
    table = dev.cli("vault", "list").decode().splitlines()
    expect(table[0].split() == ["NAME", "URL", "SKU", "RETENTION", "PROTECTED"], table)
    expect([line.split()[0] for line in table[1:]] == ["default", "second"], table)
    dev.cli("vault", "update", "second", "--purge-protection")
    expect("yes" in dev.cli("vault", "show", "second").decode().split("protected")[1][:12],
           "protected")
    cli_refused(dev, 3, "vault", "show", "absent")
    cli_refused(dev, 2, "vault", "show", "x")
    cli_refused(dev, 2, "vault", "create", "third", "--retention-days", "91")
    text = cli_refused(dev, 1, "vault", "create", "second")
    expect("vault.exists" in text, text)
    dev.cli("vault", "delete", "second")
    text = cli_refused(dev, 4, "vault", "purge", "second")
    expect("vault.purge-protected" in text, text)
    deleted = dev.cli("vault", "list-deleted").decode().splitlines()
    expect(deleted[1].split()[:2] == ["second", "deleted"], deleted)
    cli_refused(dev, 3, "--vault", "second", "secret", "list")
    dev.cli("--vault", "second", "vault", "recover", "second")
    expect(json.loads(dev.cli("vault", "list-deleted", "--json")) == [], "none")


# --- isolation -----------------------------------------------------------------------------


def isolation(dev):
    dev.cli("vault", "create", "left")
    dev.cli("vault", "create", "right")
    left, right = Vault(dev, "left"), Vault(dev, "right")
    for vault, value in ((left, "one"), (right, "two")):
        vault.ask("PUT", "/secrets/same", {"value": value})
        vault.ask("POST", "/keys/same/create", {"kty": "EC"})
    expect(left.ask("GET", "/secrets/same")["value"] == "one", "left")
    expect(right.ask("GET", "/secrets/same")["value"] == "two", "right")
    one, two = (v.ask("GET", "/keys/same")["key"] for v in (left, right))
    expect(one["x"] != two["x"], "two keys")
    expect(one["kid"].startswith("https://left.vault.localhost:"), one["kid"])
    version = one["kid"].rsplit("/", 1)[1]
    right.ask("GET", f"/keys/same/{version}", status=404)
    left.ask("PUT", "/secrets/only", {"value": "v"})
    names = [i["id"].rsplit("/", 1)[1] for i in right.ask("GET", "/secrets")["value"]]
    expect(names == ["same"], f"{names}")
    # over HTTPS, with the certificate of the whole domain
    got = Https(dev, host="right.vault.localhost").send("GET", "/secrets/same")
    expect(got.status == 200 and got.json["value"] == "two", f"{got.body}")
    got = Https(dev, host="nobody.vault.localhost").send("GET", "/secrets/same")
    expect((got.status, got.error("code")) == (404, "VaultNotFound"), f"{got.body}")
    # the environment's vault
    dev.env["KEYVAULT_VAULT"] = "right"
    value = dev.cli("secret", "get", "same")
    del dev.env["KEYVAULT_VAULT"]
    expect(value == b"two", f"{value}")


def sign(dev, uri, check=True):
    message = dev.work / "message"
    message.write_text("message")
    return dev.run("openssl", "pkeyutl", "-sign", "-inkey", uri, "-rawin", "-in", message,
                   "-out", dev.work / "signature", check=check)


def openssl(dev):
    """A key of a second vault signs; not under another vault's name, not when it is gone."""
    dev.cli("--vault", "left", "key", "create", "signer", "--type", "EC")
    sign(dev, "keyvault://left/keys/signer")
    public = dev.work / "public.pem"
    dev.run("openssl", "pkey", "-in", "keyvault://left/keys/signer", "-pubout", "-out", public)
    dev.run("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in",
            dev.work / "message", "-sigfile", dev.work / "signature")
    for uri in ("keyvault://right/keys/signer", "keyvault:///keys/signer"):
        expect(sign(dev, uri, check=False).returncode != 0, uri)
    pem = dev.work / "signer.pem"
    pem.write_bytes(dev.cli("--vault", "left", "key", "uri-pem", "signer"))
    sign(dev, pem)
    dev.cli("vault", "delete", "left")
    time.sleep(1)  # grants of a deleted vault die within a second
    done = sign(dev, pem, check=False)
    expect(done.returncode != 0, "signed with a key of a deleted vault")
    dev.cli("vault", "recover", "left")
    sign(dev, pem)


# --- restarts ------------------------------------------------------------------------------


def restarts(dev):
    """Many vaults are all there after the end of each process."""
    names = [f"many{i}" for i in range(MANY)]
    api = Vault(dev, "default")
    for name in names:
        api.ask("PUT", f"/keyvault/v1/vaults/{name}", {})
        Vault(dev, name).ask("PUT", "/secrets/s", {"value": name})
    api.close()
    for role in ("keyvault-service", "keyvault-keyring"):
        old = dev.role_pid(role)
        os.kill(old, signal.SIGKILL)
        wait_for(f"a new {role}", lambda: dev.role_pid(role) not in (None, old), 30)

        def is_ready():
            try:
                api = Vault(dev, names[0]) 
                return api.send("GET", "/secrets/s", headers=api.host).status == 200
            except OSError:
                return False
        wait_for("an answer", is_ready, 30)
        for name in names:
            expect(Vault(dev, name).ask("GET", "/secrets/s")["value"] == name, name)
    sign(dev, "keyvault://left/keys/signer")


# --- purging -------------------------------------------------------------------------------


def purge(dev):
    """Nothing of a purged vault is left in the store, and its name is free."""
    dev.cli("vault", "create", "doomed")
    doomed = Vault(dev, "doomed")
    for i in range(200):
        doomed.ask("PUT", f"/secrets/s{i}", {"value": "v"})
    store = sqlite3.connect(f"file:{dev.dir}/db/keyvault.db?mode=ro", uri=True)
    count = "SELECT vault, COUNT(*) FROM obj GROUP BY vault"
    before = dict(store.execute(count).fetchall())
    vault = max(before, key=before.get)
    expect(before[vault] == 400, "versions and heads")
    dev.cli("vault", "delete", "doomed")
    dev.cli("vault", "purge", "doomed")
    after = dict(store.execute(count).fetchall())
    expect(vault not in after, "rows are left")
    keys = [n for (n,) in store.execute("SELECT name FROM obj WHERE kind = 11")]
    expect(vault.hex() not in " ".join(keys), "its key is left")
    store.close()
    dev.cli("vault", "create", "doomed")
    Vault(dev, "doomed").ask("GET", "/secrets/s1", status=404)


def main():
    with Dev(sys.argv[1]) as dev:
        for part in (commands, isolation, openssl, restarts, purge):
            part(dev)
            print("ok", part.__name__, flush=True)
        errors = [line for line in dev.log_text().splitlines()
                  if '"level":"error"' in line and '"role.ended"' not in line]
        expect(not errors, f"errors: {errors}")


if __name__ == "__main__":
    main()
