"""Certificates that come with their key, over a real keyvaultd --dev.

    python3 tests/integration/certs/imports.py BUILD
"""
import base64
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from client import (PEM, PFX, Dev, check_bundle, expect, https_client, open_pem,  # noqa: E402
                    openssl, policy, spki, unix_client, x509)

KEY_TYPES = {
    "rsa": ("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "ec": ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "ed": ("genpkey", "-algorithm", "ED25519"),
}
LEGACY = ("-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-RC2-40",
          "-macalg", "sha1")


class Files:
    """A small CA: root, intermediate, and a leaf for each type of key."""

    def __init__(self, work):
        self.work = work
        self.make_ca("root", "/CN=Test Root", None)
        self.make_ca("mid", "/CN=Test Intermediate", "root")
        (work / "leaf.ext").write_text(
            "subjectAltName=DNS:web.example,DNS:*.web.example,IP:192.0.2.7\n"
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n")
        for name, command in KEY_TYPES.items():
            self.make_leaf(name, command, 30)
        self.chain = [self.der("mid"), self.der("root")]

    def openssl(self, *args):
        return openssl(*args, cwd=self.work)

    def make_ca(self, name, subject, issuer):
        self.openssl(*KEY_TYPES["ec"], "-out", f"{name}.key")
        self.openssl("req", "-new", "-key", f"{name}.key", "-subj", subject,
                     "-out", f"{name}.csr")
        (self.work / "ca.ext").write_text("basicConstraints=critical,CA:TRUE\n")
        signer = ("-key", f"{name}.key") if issuer is None else (
            "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key")
        self.openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-days", "30",
                     "-set_serial", "7", "-extfile", "ca.ext", "-out", f"{name}.pem")

    def make_leaf(self, name, command, days):
        self.openssl(*command, "-out", f"{name}.key")
        self.openssl("req", "-new", "-key", f"{name}.key", "-subj", "/O=Org/CN=web.example",
                     "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "mid.pem", "-CAkey",
                     "mid.key", "-days", days, "-set_serial", "8", "-extfile", "leaf.ext",
                     "-out", f"{name}.pem")

    def der(self, name):
        return self.openssl("x509", "-in", f"{name}.pem", "-outform", "DER")

    def text(self, *names):
        return "".join((self.work / name).read_text() for name in names)

    def pfx(self, name, password, *options, extra=("mid.pem", "root.pem")):
        (self.work / "extra.pem").write_text(self.text(*extra))
        return base64.b64encode(self.openssl(
            "pkcs12", "-export", "-inkey", f"{name}.key", "-in", f"{name}.pem",
            "-certfile", "extra.pem", "-passout", "pass:" + password, *options)).decode()


def do_import(client, name, value, **members):
    return client.call(200, "POST", f"/certificates/{name}/import", {"value": value, **members})


def chain_of(bundle):
    return [base64.b64decode(text, validate=True) for text in bundle["x5c"]]


def pfx_files(clients, files):
    """Modern and legacy ciphers, with and without a password; the password is gone."""
    n = 0
    for name in KEY_TYPES:
        for password, options in (("p\u00e4ss", ()), ("", ()), ("secret", LEGACY)):
            client = clients[n % 2]
            bundle = do_import(client, f"pfx-{n}", files.pfx(name, password, *options),
                               pwd=password, tags={"from": "pfx"})
            leaf = check_bundle(client, bundle)
            expect(leaf == files.der(name), "the very certificate")
            expect(chain_of(bundle) == [leaf, *files.chain], "the whole chain")
            expect(bundle["contentType"] == PFX and bundle["tags"] == {"from": "pfx"}, bundle)
            expect("pending" not in bundle, "nothing is pending")
            client.fails(404, "cert.no-operation", "GET", f"/certificates/pfx-{n}/pending")
            n += 1
    bundle = do_import(client, "pfx-none", files.pfx("ec", ""))
    check_bundle(client, bundle)
    print(f"ok {n} PKCS#12 files")


def pem_files(clients, files):
    """PEM as text or in base64, key first or last."""
    for n, name in enumerate(KEY_TYPES):
        client = clients[n % 2]
        text = files.text(f"{name}.key", f"{name}.pem", "mid.pem", "root.pem")
        for value in (text, base64.b64encode(text.encode()).decode(),
                      files.text(f"{name}.pem", "mid.pem", "root.pem", f"{name}.key")):
            bundle = do_import(client, f"pem-{name}", value)
            expect(chain_of(bundle) == [files.der(name), *files.chain], "chain")
            check_bundle(client, bundle)
        listed = client.get(f"/certificates/pem-{name}/versions")["value"]
        expect(len(listed) == 3, "each import is a version")
    files.openssl("pkcs8", "-topk8", "-in", "rsa.key", "-passout", "pass:secret", "-v2",
                  "aes-256-cbc", "-out", "rsa.enc")
    bundle = do_import(clients[0], "pem-encrypted", files.text("rsa.enc", "rsa.pem"),
                       pwd="secret")
    check_bundle(clients[0], bundle)
    print("ok PEM files")


def order_of_chains(client, files):
    """Leaf first, then each one's issuer; the given order stays on request."""
    ordered = [files.der("ec"), *files.chain]
    for mixed in (("root.pem", "mid.pem", "ec.pem"), ("mid.pem", "ec.pem", "root.pem")):
        text = files.text("ec.key", *mixed)
        bundle = do_import(client, "mixed", text)
        expect(chain_of(bundle) == ordered, f"{mixed} put in order")
        check_bundle(client, bundle)
    pfx = files.pfx("ec", "", extra=("root.pem", "mid.pem"))
    expect(chain_of(do_import(client, "mixed", pfx)) == ordered, "PFX put in order")
    kept = do_import(client, "kept", pfx, preserveCertOrder=True)
    expect(chain_of(kept) == [ordered[0], ordered[2], ordered[1]], "as it came")
    check_bundle(client, kept)
    stranger = files.text("ec.key", "ec.pem", "rsa.pem", "root.pem", "mid.pem")
    bundle = do_import(client, "mixed", stranger)
    expect(chain_of(bundle) == [*ordered, files.der("rsa")], "what belongs not, is last")
    print("ok chains in order")


def policies(client, files):
    """Without a policy the certificate itself is one; a given one is kept."""
    bundle = do_import(client, "own-policy", files.pfx("ec", ""))
    stored = client.get("/certificates/own-policy/policy")
    expect(stored == bundle["policy"], "the bundle's")
    expect(stored["issuer"]["name"] == "Unknown", stored["issuer"])
    expect(stored["key_props"]["kty"] == "EC" and stored["key_props"]["crv"] == "P-256" and
           stored["key_props"]["exportable"] is True, stored["key_props"])
    props = stored["x509_props"]
    expect(props["subject"] == "O=Org, CN=web.example", props)
    expect(props["sans"] == {"dns_names": ["web.example", "*.web.example"],
                             "ipAddresses": ["192.0.2.7"]}, props)
    expect(props["key_usage"] == ["digitalSignature"] and
           props["ekus"] == ["1.3.6.1.5.5.7.3.1"], props)
    given = {"key_props": {"exportable": False}, "secret_props": {"contentType": PEM}}
    bundle = do_import(client, "locked", files.pfx("rsa", ""), policy=given)
    check_bundle(client, bundle, exportable=False)
    key, certs = open_pem(client.get("/secrets/locked")["value"])
    expect(key is None and certs == chain_of(bundle), "certificates alone")
    expect(bundle["contentType"] == PEM, "as the policy says")
    bundle = do_import(client, "disabled", files.pfx("rsa", ""), attributes={"enabled": False})
    expect(bundle["attributes"]["enabled"] is False, "disabled")
    client.fails(403, "api.secret-disabled", "GET", "/secrets/disabled")
    print("ok policies of imports")


def and_create(client, files):
    """Imported and created versions of one name follow each other."""
    first = client.create("both", policy({"kty": "EC", "crv": "P-256"}))
    second = do_import(client, "both", files.pfx("rsa", ""))
    expect(second["policy"]["issuer"]["name"] == "Self", "the stored policy stays")
    check_bundle(client, second)
    third = client.create("both")
    check_bundle(client, third)
    ids = {item["id"] for item in client.get("/certificates/both/versions")["value"]}
    expect(ids == {first["id"], second["id"], third["id"]}, "three versions")
    expect(client.get("/certificates/both")["id"] == third["id"], "the newest")
    print("ok imports between orders")


def expired(client, files):
    """The past can be kept, too."""
    files.openssl("x509", "-req", "-in", "ec.csr", "-CA", "mid.pem", "-CAkey", "mid.key",
                  "-days", "-1", "-set_serial", "9", "-out", "old.pem")
    bundle = do_import(client, "old", files.text("ec.key", "old.pem"))
    leaf = base64.b64decode(bundle["cer"])
    expect("notAfter" in x509(leaf, "-enddate"), "dates")
    expect(spki(leaf) == spki(files.der("ec")), "its key")
    client.fails(403, "api.secret-expired", "GET", "/secrets/old")
    client.get("/keys/old")
    print("ok an expired certificate")


def refusals(client, files):
    files.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024",
                  "-out", "small.key")
    files.openssl("req", "-x509", "-new", "-key", "small.key", "-subj", "/CN=small",
                  "-out", "small.pem")
    files.openssl(*KEY_TYPES["rsa"], "-out", "other.key")
    pfx = files.pfx("rsa", "secret")
    damaged = base64.b64encode(base64.b64decode(pfx)[:-1]).decode()
    many = files.text("ec.key", "ec.pem", *["mid.pem"] * 10)
    rows = [
        ({"value": pfx, "pwd": "wrong"}, "key.import-bad-password"),
        ({"value": pfx}, "key.import-bad-password"),
        ({"value": pfx, "pwd": 7}, "api.bad-field"),
        ({"value": pfx, "pwd": "x" * 5000}, "api.bad-field"),
        ({"value": damaged, "pwd": "secret"}, "key.import-bad-pfx"),
        ({"value": files.text("other.key", "rsa.pem")}, "key.import-cert-mismatch"),
        ({"value": files.text("small.key", "small.pem")}, "key.import-weak"),
        ({"value": files.text("rsa.key")}, "cert.no-certificate"),
        ({"value": files.text("rsa.pem")}, "key.import-no-key"),
        ({"value": files.text("rsa.key", "ec.key", "rsa.pem")}, "key.import-many-keys"),
        ({"value": many}, "key.import-many-certs"),
        ({"value": files.text("rsa.key") + "-----BEGIN CERTIFICATE-----\nAAAA\n"
                                           "-----END CERTIFICATE-----\n"},
         "key.import-bad-cert"),
        ({"value": "no base64!"}, "api.bad-field"),
        ({"value": ""}, "api.bad-field"),
        ({"value": 7}, "api.bad-field"),
        ({}, "api.missing-field"),
        ({"value": pfx, "pwd": "secret", "policy": {"issuer": {"name": "Nobody"}}},
         "cert.no-issuer"),
        ({"value": pfx, "pwd": "secret", "policy": {"key_props": {"kty": "EC"}}},
         "policy.bad-field"),
        ({"value": pfx, "pwd": "secret", "policy": {"secret_props": {"contentType": "x"}}},
         "policy.bad-field"),
    ]
    for body, error_id in rows:
        client.fails(400, error_id, "POST", "/certificates/refused/import", body)
    for path in ("/certificates/refused", "/keys/refused", "/secrets/refused",
                 "/certificates/refused/policy"):
        client.fails(404, "object.not-found", "GET", path)
    client.call(200, "PUT", "/secrets/taken", {"value": "mine"})
    client.fails(409, "cert.name-taken", "POST", "/certificates/taken/import",
                 {"value": files.pfx("ec", "")})
    print(f"ok {len(rows)} refused imports leave nothing behind")


def main():
    with Dev(sys.argv[1]) as dev:
        files = Files(dev.work)
        clients = (https_client(dev), unix_client(dev))
        pfx_files(clients, files)
        pem_files(clients, files)
        for n, part in enumerate((order_of_chains, policies, and_create, expired, refusals)):
            part(clients[n % 2], files)
        expect("PRIVATE KEY" not in dev.log_text(), "the log keeps secrets")
    print("ok imports")


if __name__ == "__main__":
    main()
