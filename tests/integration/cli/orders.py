"""Orders, policies and exports of certificates on the command line; openssl(1) plays the
CA outside and reads what is exported.

    python3 tests/integration/cli/orders.py BUILD
"""
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from cli import DENIED, FAILED, NOT_FOUND, USAGE, Cli, expect  # noqa: E402
from dev import Dev  # noqa: E402


class Ca:
    """A CA outside the vault."""

    def __init__(self, work):
        self.work = work
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Outside CA",
                     "-keyout", "ca.key", "-out", "ca.pem", "-days", "30")

    def openssl(self, *args, code=0):
        env = {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}
        done = subprocess.run(["openssl", *map(str, args)], cwd=self.work, env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        expect(done.returncode == code, f"openssl {args}: {done.stderr.decode()}")
        return done.stdout

    def sign(self, csr):
        """leaf.pem, chain.pem (leaf and CA) and the same in other forms."""
        self.openssl("x509", "-req", "-in", csr, "-CA", "ca.pem", "-CAkey", "ca.key",
                     "-CAcreateserial", "-days", "9", "-out", "leaf.pem")
        leaf, ca = ((self.work / n).read_text() for n in ("leaf.pem", "ca.pem"))
        (self.work / "chain.pem").write_text(leaf + "Comment\n" + ca)
        self.openssl("x509", "-in", "leaf.pem", "-outform", "DER", "-out", "leaf.der")
        for form in ("PEM", "DER"):
            self.openssl("crl2pkcs7", "-nocrl", "-certfile", "chain.pem", "-outform", form,
                         "-out", f"chain.p7b.{form.lower()}")
        return leaf


def order(cli, name):
    cli.says(f"hint: keyvault cert csr {name} --out {name}.csr", "cert", "create", name,
             "--issuer", "Unknown", "--subject", f"CN={name}", "--curve", "P-256")
    cli.run("cert", "csr", name, "--out", f"{name}.csr")


def requests(cli, ca):
    order(cli, "csr")
    text = ca.openssl("req", "-in", "csr.csr", "-noout", "-subject", "-verify")
    expect(b"csr" in text, text)
    expect(cli.out("cert", "csr", "csr") == (ca.work / "csr.csr").read_bytes(), "standard output")
    operation = cli.json("cert", "csr", "csr")
    expect(operation["status"] == "inProgress" and operation["csr"], "--json is the operation")
    cli.fails(NOT_FOUND, "cert.no-operation", "cert", "csr", "absent")
    cli.fails(FAILED, "cli.cert-pending", "cert", "show", "csr", "--pem")
    expect("csr" not in str(cli.json("cert", "list")) and "csr" in str(
        cli.json("cert", "list", "--pending")), "list --pending")


def merges(cli, ca):
    for form in ("chain.pem", "leaf.der", "chain.p7b.pem", "chain.p7b.der"):
        name = "merge-" + form.replace(".", "-")
        order(cli, name)
        leaf = ca.sign(f"{name}.csr")
        bundle = cli.json("cert", "merge", name, "--file", form, "--tag", "form=x")
        expect(leaf.replace("\n", "").find(bundle["cer"]) > 0, form)
        expect(bundle["tags"] == {"form": "x"}, "tags")
        count = cli.out("cert", "show", name, "--pem").count(b"BEGIN CERTIFICATE")
        expect(count == (1 if form == "leaf.der" else 2), f"{form}: {count} certificates")
    order(cli, "other")
    cli.fails(FAILED, "chain.no-leaf", "cert", "merge", "other", "--file", "chain.pem")
    cli.fails(FAILED, "pem.no-certificate", "cert", "merge", "other", "--file", "other.csr")
    (ca.work / "empty").write_bytes(b"")
    cli.fails(FAILED, "pem.no-certificate", "cert", "merge", "other", "--file", "empty")
    cli.fails(FAILED, "cli.no-file", "cert", "merge", "other", "--file", "absent")
    cli.fails(USAGE, "cli.bad-flag", "cert", "merge", "other")
    cli.fails(NOT_FOUND, "cert.no-operation", "cert", "merge", "absent", "--file", "chain.pem")
    ca.sign("other.csr")
    with open(ca.work / "chain.pem", "rb") as file:
        out = cli.out("cert", "merge", "other", "--file", "-", stdin=file.read())
    expect(b"CN=other" in out, "fields of the certificate")
    cli.fails(FAILED, "cert.not-in-progress", "cert", "merge", "other", "--file", "chain.pem")


def operations(cli):
    order(cli, "op")
    expect(b"inProgress" in cli.out("cert", "operation", "show", "op"), "show")
    expect(cli.json("cert", "operation", "cancel", "op")["status"] == "cancelled", "cancel")
    cli.fails(FAILED, "cert.not-in-progress", "cert", "operation", "cancel", "op")
    expect(b"cancelled" in cli.out("cert", "operation", "delete", "op"), "delete")
    cli.fails(NOT_FOUND, "cert.no-operation", "cert", "operation", "show", "op")
    cli.fails(NOT_FOUND, "cert.no-operation", "cert", "operation", "delete", "op")
    cli.fails(NOT_FOUND, "cert.no-operation", "cert", "operation", "cancel", "absent")
    cli.fails(USAGE, "cli.bad-flag", "cert", "operation", "pause", "op")
    cli.fails(USAGE, "cli.bad-flag", "cert", "operation", "show", "a_b")
    cli.fails(USAGE, "cli.usage", "cert", "operation", "show")


def renewals(cli):
    first = cli.json("cert", "create", "own", "--issuer", "Self", "--subject", "CN=own",
                     "--exportable")
    second = cli.json("cert", "renew", "own", "--tag", "n=2")
    expect(second["id"] != first["id"] and second["cer"] != first["cer"], "a new version")
    expect(second["tags"] == {"n": "2"}, "tags of the new version")
    expect(b"CN=own" in cli.out("cert", "renew", "own"), "fields")
    expect(cli.json("cert", "renew", "own", "--no-wait")["status"] in
           ("inProgress", "completed"), "--no-wait")
    cli.fails(NOT_FOUND, "object.not-found", "cert", "renew", "absent")
    cli.fails(USAGE, "cli.bad-flag", "cert", "renew", "a_b")


def policies(cli, work):
    shown = cli.json("cert", "policy", "show", "own")
    changed = cli.json("cert", "policy", "set", "own", "--validity-months", "5", "--dns", "a.example")
    expect(changed["x509_props"]["validity_months"] == 5
           and changed["x509_props"]["sans"]["dns_names"] == ["a.example"]
           and changed["key_props"] == shown["key_props"]
           and changed["x509_props"]["subject"] == "CN=own", "flags replace members, the rest stays")
    changed = cli.json("cert", "policy", "set", "own", "--curve", "P-384")
    expect(changed["key_props"]["kty"] == "EC" and changed["key_props"]["crv"] == "P-384"
           and changed["key_props"]["exportable"] is True, changed["key_props"])
    bundle = cli.json("cert", "renew", "own")
    key = cli.json("key", "show", "own")
    expect(key["key"]["crv"] == "P-384" and key["key"]["kid"].endswith(bundle["id"][-32:]),
           "the next version follows the policy")
    (work / "policy.json").write_text(json.dumps({"x509_props": {"validity_months": 7}}))
    changed = cli.json("cert", "policy", "set", "own", "--policy", "policy.json")
    expect(changed["x509_props"]["validity_months"] == 7, "from a file")
    default = cli.json("cert", "policy", "default")
    (work / "default.json").write_text(json.dumps(default))
    cli.run("cert", "create", "by-default", "--policy", "default.json")
    cli.fails(NOT_FOUND, "object.not-found", "cert", "policy", "show", "absent")
    cli.fails(NOT_FOUND, "object.not-found", "cert", "policy", "set", "absent", "--exportable")
    cli.fails(USAGE, "cli.bad-flag", "cert", "policy", "set", "own")
    cli.fails(USAGE, "cli.bad-flag", "cert", "policy", "show", "own", "--exportable")
    cli.fails(USAGE, "cli.bad-flag", "cert", "policy", "default", "--exportable")
    cli.fails(USAGE, "cli.bad-flag", "cert", "policy", "default", "own")
    cli.fails(USAGE, "cli.bad-flag", "cert", "policy", "drop", "own")
    cli.fails(FAILED, "policy.bad-subject", "cert", "policy", "set", "own", "--subject", "nothing")
    cli.fails(FAILED, "cli.bad-json", "cert", "policy", "set", "own", "--policy", "ca.pem")


def exports(cli, ca):
    """Key and certificate belong together in each form, and open with the password."""
    (ca.work / "good.pw").write_text("pass wörd\n")
    (ca.work / "empty.pw").write_text("\n")
    for content in ("application/x-pkcs12", "application/x-pem-file"):
        name = "out-" + content[-4:].strip("-")
        policy = cli.json("cert", "policy", "default")
        policy["secret_props"]["contentType"] = content
        policy["key_props"]["exportable"] = True
        (ca.work / "p.json").write_text(json.dumps(policy))
        cli.run("cert", "create", name, "--policy", "p.json", "--subject", f"CN={name}")
        public = ca.openssl("x509", "-in", pem_of(cli, name, ca.work), "-noout", "-pubkey")
        cli.run("cert", "export", name, "--format", "pem", "--out", "e.pem")
        expect((ca.work / "e.pem").stat().st_mode & 0o777 == 0o600, "0600")
        expect(ca.openssl("pkey", "-in", "e.pem", "-pubout") == public, "the key in PEM")
        expect(cli.out("cert", "export", name, "--format", "PEM")
               == (ca.work / "e.pem").read_bytes(), "standard output")
        cli.run("cert", "export", name, "--format", "pem", "--out", "e.pem",
                "--password-file", "good.pw")
        expect(b"ENCRYPTED" in (ca.work / "e.pem").read_bytes(), "an encrypted key")
        ca.openssl("pkey", "-in", "e.pem", "-passin", "pass:wrong", code=1)
        expect(ca.openssl("pkey", "-in", "e.pem", "-passin", "file:good.pw", "-pubout")
               == public, "with its password")
        for password, flags in (("pass:", ()), ("file:good.pw", ("--password-file", "good.pw"))):
            cli.run("cert", "export", name, "--format", "pfx", "--out", "e.pfx", *flags)
            text = ca.openssl("pkcs12", "-in", "e.pfx", "-nodes", "-passin", password)
            (ca.work / "e.pem").write_bytes(text)
            expect(ca.openssl("pkey", "-in", "e.pem", "-pubout") == public, f"PFX, {password}")
        cli.run("cert", "import", name + "-again", "--file", "e.pfx", "--password-file", "good.pw")
        again = cli.json("cert", "show", name + "-again")
        expect(again["cer"] == cli.json("cert", "show", name)["cer"], "import reads what export wrote")
        old = cli.json("cert", "show", name)["id"][-32:]
        cli.run("cert", "renew", name)
        expect(ca.openssl("pkey", "-pubout", "-in", pem_key(cli, name, ca.work, old)) == public,
               "--version")
        expect(cli.json("cert", "export", name, "--format", "pem")["kid"], "--json is the secret")
    cli.run("cert", "create", "kept", "--issuer", "Self", "--subject", "CN=kept")
    for form in ("pem", "pfx"):
        text = cli.fails(FAILED, "cli.not-exportable", "cert", "export", "kept", "--format", form)
        expect("keyvault key uri-pem kept" in text, text)
    cli.fails(NOT_FOUND, "object.not-found", "cert", "export", "absent", "--format", "pem")
    cli.fails(USAGE, "cli.bad-flag", "cert", "export", "kept")
    cli.fails(USAGE, "cli.bad-flag", "cert", "export", "kept", "--format", "jks")
    cli.fails(USAGE, "cli.bad-flag", "cert", "export", "kept", "--format", "pem",
              "--password-file", "empty.pw")
    cli.run("cert", "update", "kept", "--disabled")
    cli.fails(DENIED, "api.secret-disabled", "cert", "export", "kept", "--format", "pem")


def pem_of(cli, name, work):
    cli.run("cert", "show", name, "--pem", "--out", "shown.pem")
    return work / "shown.pem"


def pem_key(cli, name, work, version):
    cli.run("cert", "export", name, "--format", "pem", "--out", "old.pem", "--version", version)
    return work / "old.pem"


def main():
    with Dev(sys.argv[1]) as dev:
        cli = Cli(dev)
        ca = Ca(dev.work)
        requests(cli, ca)
        merges(cli, ca)
        operations(cli)
        renewals(cli)
        policies(cli, dev.work)
        exports(cli, ca)
        print(f"{cli.n} commands, as expected")


if __name__ == "__main__":
    main()
