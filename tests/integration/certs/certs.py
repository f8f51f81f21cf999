"""Certificates of the issuer Self over a real keyvaultd --dev, over HTTPS and api.sock.

    python3 tests/integration/certs/certs.py BUILD
"""
import base64
import os
import pathlib
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from client import (PEM, PFX, Dev, blocks, b64url, check_bundle, check_secret,  # noqa: E402
                    expect, https_client, open_pem, openssl, policy, spki, unix_client,
                    x509)

KEYS = [
    ({"kty": "RSA", "key_size": 2048}, "Public-Key: (2048 bit)"),
    ({"kty": "RSA", "key_size": 3072}, "Public-Key: (3072 bit)"),
    ({"kty": "EC", "crv": "P-256"}, "NIST CURVE: P-256"),
    ({"kty": "EC", "crv": "P-384"}, "NIST CURVE: P-384"),
    ({"kty": "EC", "crv": "P-521"}, "NIST CURVE: P-521"),
    ({"kty": "EC", "crv": "P-256K"}, "ASN1 OID: secp256k1"),
    ({"kty": "OKP", "crv": "Ed25519"}, "ED25519 Public-Key"),
]
SANS = {"dns_names": ["a.example", "*.b.example"], "emails": ["me@c.example"],
        "upns": ["me@d.example"], "uris": ["https://e.example/F"],
        "ipAddresses": ["192.0.2.1", "2001:db8::1"]}


def check_first_answer(client, name, operation):
    url = operation["id"].split("/certificates/")[0]
    request = operation["request_id"]
    expect(len(request) == 32 and int(request, 16) >= 0, request)
    expect(operation["id"] == f"{url}/certificates/{name}/pending", operation["id"])
    expect(client.headers["Location"] ==
           f"{url}/certificates/{name}/pending?api-version=2025-07-01&request_id={request}",
           f"Location: {client.headers['Location']}")
    expect(int(client.headers["Retry-After"]) > 0, "Retry-After")
    expect(operation["status"] == "inProgress" and operation["status_details"], "status")
    expect(operation["cancellation_requested"] is False, "nobody cancelled")
    expect("target" not in operation and "error" not in operation, "not ended")
    expect(operation["issuer"]["name"] == "Self", "issuer")
    csr = base64.b64decode(operation["csr"], validate=True)
    openssl("req", "-inform", "DER", "-verify", "-noout", stdin=csr)
    return csr


def one_order(client, name, given, text, exportable, content_type):
    """From the first answer to the three objects."""
    given["key_props"]["exportable"] = exportable
    given["secret_props"] = {"contentType": content_type}
    operation = client.order(name, given, tags={"made": "by-test"})
    csr = check_first_answer(client, name, operation)
    ended = client.wait(name)
    expect(ended["status"] == "completed", ended)
    expect(ended["target"] == operation["id"][:-len("/pending")], "target")
    expect(ended["request_id"] == operation["request_id"], "the same operation")
    bundle = client.get(f"/certificates/{name}")
    leaf = check_bundle(client, bundle, exportable)
    expect(bundle["pending"]["id"] == operation["id"], "pending id")
    expect(bundle["attributes"]["enabled"] is True, "enabled")
    expect(bundle["contentType"] == content_type, "contentType")
    expect(bundle["tags"] == {"made": "by-test"}, "tags")
    expect(text in x509(leaf, "-text"), text)
    request_key = openssl("req", "-inform", "DER", "-pubkey", "-noout", stdin=csr)
    expect(openssl("pkey", "-pubin", "-outform", "DER", stdin=request_key) == spki(leaf),
           "the request's key")
    expect(client.object(bundle["id"]) == bundle, "the version by its own id")
    return bundle, leaf


def orders(clients):
    """Every key type, exportable or not, PKCS#12 or PEM, over either transport."""
    n = 0
    for key, text in KEYS:
        for exportable in (True, False):
            for content_type in (PFX, PEM):
                client = clients[n % 2]
                name = f"order-{n}"
                given = policy(dict(key), f"CN={name}.example, O=\"Org, Inc.\"",
                               x509={"sans": SANS, "validity_months": 3})
                _, leaf = one_order(client, name, given, text, exportable, content_type)
                openssl("verify", "-CAfile", pem_file(leaf), pem_file(leaf))
                n += 1
    text = x509(leaf, "-text", "-nameopt", "RFC2253")
    for part in ("Subject: O=Org\\, Inc.,CN=order-", "DNS:a.example, DNS:*.b.example",
                 "email:me@c.example", "UPN::me@d.example", "URI:https://e.example/F",
                 "IP Address:192.0.2.1", "IP Address:2001:DB8:0:0:0:0:0:1",
                 "X509v3 Key Usage: critical", "CA:FALSE", "Subject Key Identifier"):
        expect(part in text, f"{part} in {text}")
    print(f"ok {n} orders of {len(KEYS)} key types")


files = []


def pem_file(der):
    path = files[0] / "cert.pem"
    path.write_bytes(openssl("x509", "-inform", "DER", stdin=der))
    return path


def content_types(client):
    """outContentType turns PKCS#12 into PEM and nothing else."""
    made = client.create("type-pfx", policy({"kty": "EC", "crv": "P-256"}))
    path = "/secrets/type-pfx?outContentType="
    expect(client.get(path + PEM)["contentType"] == PEM, "PFX to PEM")
    expect(client.get(path + PFX)["contentType"] == PFX, "PFX as it is")
    labels = [label for label, _ in blocks(client.get(path + PEM)["value"])]
    expect(labels == ["PRIVATE KEY", "CERTIFICATE"], labels)
    for wrong in ("text/plain", "PEM", ""):
        client.fails(400, "api.bad-field", "GET", path + wrong)
    client.create("type-pem", policy({"kty": "EC", "crv": "P-256"},
                                     secret_props={"contentType": PEM}))
    path = "/secrets/type-pem?outContentType="
    expect(client.get(path + PEM)["contentType"] == PEM, "PEM as it is")
    client.fails(400, "api.bad-field", "GET", path + PFX)
    key, certs = open_pem(client.get("/secrets/type-pem")["value"])
    expect(key is not None and len(certs) == 1, "key and leaf")
    check_secret(client, made, [base64.b64decode(made["cer"])], True)
    print("ok content types of secrets")


def sign_with_key(client, work):
    """The managed key works, for what the policy lets it do."""
    made = client.create("signer", policy({"kty": "RSA", "key_size": 2048}))
    path = "/" + made["kid"].split("/", 3)[3]
    digest = openssl("dgst", "-sha256", "-binary", stdin=b"a document")
    reply = client.call(200, "POST", path + "/sign", {"alg": "RS256", "value": b64url(digest)})
    (work / "sig").write_bytes(base64.urlsafe_b64decode(reply["value"] + "=="))
    (work / "pub.der").write_bytes(spki(base64.b64decode(made["cer"])))
    openssl("dgst", "-sha256", "-verify", "pub.der", "-keyform", "DER", "-signature", "sig",
            stdin=b"a document", cwd=work)
    only_sign = client.create("only-signs", policy(
        {"kty": "RSA", "key_size": 2048}, x509={"key_usage": ["digitalSignature"]}))
    path = "/" + only_sign["kid"].split("/", 3)[3]
    ops = client.get(path)["key"]["key_ops"]
    expect(sorted(ops) == ["sign", "verify"], ops)
    client.fails(403, "key.op-not-permitted", "POST", path + "/unwrapkey",
                 {"alg": "RSA-OAEP", "value": b64url(b"\1" * 256)})
    print("ok the managed key signs")


def versions(client):
    """A second order makes a second version of all three, by the stored policy."""
    given = policy({"kty": "EC", "crv": "P-256"}, "CN=twice.example")
    first = client.create("twice", given)
    second = client.create("twice")
    expect(first["id"] != second["id"] and first["cer"] != second["cer"], "two versions")
    for bundle in (first, second):
        found = client.object(bundle["id"])
        expect(found["cer"] == bundle["cer"] and found["kid"] == bundle["kid"], "by version")
        check_bundle(client, found)
    listed = client.get("/certificates/twice/versions")["value"]
    expect({item["id"] for item in listed} == {first["id"], second["id"]}, "both listed")
    for item in listed:
        bundle = client.object(item["id"])
        expect(item["x5t"] == bundle["x5t"] and item["subject"] == "CN=twice.example", item)
    for kind in ("keys", "secrets"):
        listed = client.get(f"/{kind}/twice/versions")["value"]
        expect(len(listed) == 2 and all(item["managed"] for item in listed), kind)
    expect(client.get("/keys/twice")["key"]["kid"] == second["kid"], "the newest key")
    expect(client.get("/secrets/twice")["id"] == second["sid"], "the newest secret")
    other = client.create("twice", policy({"kty": "OKP", "crv": "Ed25519"}, "CN=other"))
    stored = client.get("/certificates/twice/policy")
    expect(stored["key_props"]["kty"] == "OKP" and stored["x509_props"]["subject"] == "CN=other",
           "one policy for all versions")
    check_bundle(client, other)
    print("ok versions of one name")


def policies(client):
    """The stored policy says all that was decided."""
    made = client.create("policy", policy(x509={"validity_months": 7}))
    stored = client.get("/certificates/policy/policy")
    expect(stored == made["policy"], "the bundle has the policy")
    expect(stored["id"] == made["policy"]["id"], "id")
    expect(stored["key_props"] == {"exportable": True, "kty": "RSA", "key_size": 2048,
                                   "reuse_key": False}, stored["key_props"])
    expect(stored["secret_props"] == {"contentType": PFX}, "PKCS#12 by default")
    x509_props = stored["x509_props"]
    expect(x509_props["validity_months"] == 7, "as given")
    expect(x509_props["ekus"] == ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"], "EKUs")
    expect(x509_props["key_usage"] == ["digitalSignature", "keyEncipherment"], "usage")
    expect(stored["issuer"]["name"] == "Self" and stored["attributes"]["enabled"], "issuer")
    client.fails(404, "object.not-found", "GET", "/certificates/absent/policy")
    # A template of other clients: what Self cannot put into it is left out.
    made = client.create("template", policy(x509={"key_usage": [
        "cRLSign", "dataEncipherment", "digitalSignature", "keyAgreement", "keyCertSign",
        "keyEncipherment"]}))
    text = x509(base64.b64decode(made["cer"]), "-text")
    expect("Certificate Sign" not in text and "CRL Sign" in text, text)
    print("ok policies")


def not_found(client):
    client.fails(404, "object.not-found", "GET", "/certificates/absent")
    client.fails(404, "object.not-found", "GET", "/certificates/twice/" + "0" * 32)
    client.fails(400, "api.bad-object-version", "GET", "/certificates/twice/12")
    client.fails(404, "cert.no-operation", "GET", "/certificates/absent/pending")
    client.fails(404, "cert.no-operation", "GET",
                 "/certificates/twice/pending?request_id=" + "0" * 32)
    request = client.get("/certificates/twice/pending")["request_id"]
    client.get("/certificates/twice/pending?request_id=" + request.upper())
    expect(client.get("/certificates/absent/versions")["value"] == [], "no versions")
    print("ok what is not there")


def all_items(client, path):
    items, url = [], path
    while url is not None:
        page = client.get(url)
        items += page["value"]
        expect(len(page["value"]) <= 25, "pages have at most 25 items")
        url = page["nextLink"]
        if url is not None:
            url = "/" + url.split("/", 3)[3].replace("&api-version=2025-07-01", "").replace(
                "api-version=2025-07-01&", "")
    return items


def lists(client):
    items = all_items(client, "/certificates")
    names = [item["id"].rsplit("/", 1)[1] for item in items]
    expect(names == sorted(set(names)) and len(names) > 25, f"sorted, once: {names}")
    paged = all_items(client, "/certificates?maxresults=4")
    expect([item["id"] for item in paged] == [item["id"] for item in items], "small pages")
    pending = all_items(client, "/certificates?includePending=true")
    expect([item["id"] for item in pending] == [item["id"] for item in items],
           "nothing is pending")
    managed = [item for item in all_items(client, "/keys") if item.get("managed")]
    expect(len(managed) == len(names), "a key for each")
    print(f"ok {len(names)} certificates listed")


MANAGED = [
    ("PUT", "/secrets/twice", {"value": "other"}),
    ("DELETE", "/secrets/twice", None),
    ("POST", "/keys/twice/create", {"kty": "EC", "crv": "P-256"}),
    ("PUT", "/keys/twice", {"key": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43,
                                    "d": "A" * 43}}),
    ("POST", "/keys/twice/rotate", None),
    ("DELETE", "/keys/twice", None),
]


def managed_names(client):
    """Key and secret of a certificate change with it alone; a name has one owner."""
    before = client.get("/certificates/twice")
    for method, path, body in MANAGED:
        status, reply = client.api.call(method, path, body)
        expect((status, reply["error"]["id"]) in
               ((403, "api.managed"), (400, "api.not-offered")), f"{method} {path}: {reply}")
    expect(client.get("/certificates/twice") == before, "nothing has changed")
    check_bundle(client, before)
    client.call(200, "PUT", "/secrets/plain-secret", {"value": "mine"})
    client.call(200, "POST", "/keys/plain-key/create", {"kty": "EC", "crv": "P-256"})
    for name in ("plain-secret", "plain-key"):
        client.fails(409, "cert.name-taken", "POST", f"/certificates/{name}/create",
                     {"policy": policy()})
        client.fails(404, "object.not-found", "GET", f"/certificates/{name}")
        client.fails(404, "cert.no-operation", "GET", f"/certificates/{name}/pending")
    expect(client.get("/secrets/plain-secret")["value"] == "mine", "still mine")
    print("ok names of certificates")


BAD = [
    ({}, "cert.no-policy"),
    ({"policy": 7}, "api.bad-field"),
    ({"policy": policy(), "tags": {"a": 1}}, "api.bad-field"),
    ({"policy": policy(), "attributes": {"enabled": "yes"}}, "api.bad-field"),
    ({"policy": policy(), "preserveCertOrder": 1}, "api.bad-field"),
    ({"policy": {}}, "policy.bad-field"),
    ({"policy": {"issuer": {"name": "Self"}}}, "policy.bad-field"),
    ({"policy": policy(subject="no name")}, "policy.bad-subject"),
    ({"policy": policy(subject="CN=")}, "policy.bad-subject"),
    ({"policy": policy(subject=7)}, "policy.bad-field"),
    ({"policy": policy({"kty": "DSA"})}, "policy.bad-field"),
    ({"policy": policy({"kty": "RSA", "key_size": 1024})}, "policy.bad-field"),
    ({"policy": policy({"kty": "RSA", "key_size": "2048"})}, "policy.bad-field"),
    ({"policy": policy({"kty": "EC", "crv": "P-1"})}, "policy.bad-field"),
    ({"policy": policy(x509={"validity_months": 0})}, "policy.bad-field"),
    ({"policy": policy(x509={"validity_months": 1201})}, "policy.bad-field"),
    ({"policy": policy(x509={"ekus": ["serverAuth"]})}, "policy.bad-field"),
    ({"policy": policy(x509={"key_usage": ["everything"]})}, "policy.bad-field"),
    ({"policy": policy({"kty": "EC"}, x509={"key_usage": ["keyEncipherment"]})},
     "policy.bad-field"),
    ({"policy": policy(x509={"sans": {"dns_names": ["not a name"]}})}, "policy.bad-field"),
    ({"policy": policy(x509={"sans": {"ipAddresses": ["1.2.3"]}})}, "policy.bad-field"),
    ({"policy": policy(x509={"sans": {"dns_names": "a"}})}, "policy.bad-field"),
    ({"policy": policy(secret_props={"contentType": "text/plain"})}, "policy.bad-field"),
    ({"policy": policy(x509={"basic_constraints": {"ca": True}})}, "policy.not-offered"),
    ({"policy": policy(lifetime_actions=[{"trigger": {"lifetime_percentage": 100},
                                          "action": {"action_type": "AutoRenew"}}])},
     "policy.bad-field"),
    ({"policy": {**policy(), "issuer": {"name": "Nobody"}}}, "cert.no-issuer"),
]


def bad_fields(client):
    for body, error_id in BAD:
        client.fails(400, error_id, "POST", "/certificates/bad/create", body)
    client.fails(400, "api.bad-name", "POST", "/certificates/under_score/create",
                 {"policy": policy()})
    for path in ("/certificates/bad", "/keys/bad", "/secrets/bad"):
        client.fails(404, "object.not-found", "GET", path)
    client.fails(404, "cert.no-operation", "GET", "/certificates/bad/pending")
    client.fails(404, "object.not-found", "GET", "/certificates/bad/policy")
    print(f"ok {len(BAD)} bad orders leave nothing behind")


def disabled(client):
    made = client.create("disabled", policy({"kty": "EC", "crv": "P-256"}),
                         attributes={"enabled": False})
    expect(made["attributes"]["enabled"] is False, "certificate")
    expect(client.get("/keys/disabled")["attributes"]["enabled"] is False, "key")
    client.fails(403, "api.secret-disabled", "GET", "/secrets/disabled")
    print("ok a disabled certificate")


def at_once(dev, clients):
    """Of many orders for one name, each is refused or makes a version of its own."""
    results = []

    def order():
        client = unix_client(dev)
        results.append(client.api.call("POST", "/certificates/at-once/create",
                                       {"policy": policy({"kty": "EC", "crv": "P-256"})}))

    threads = [threading.Thread(target=order) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    n_made = sum(status == 202 for status, _ in results)
    for status, body in results:
        expect(status == 202 or status == 409 and body["error"]["id"] in
               ("cert.in-progress", "object.conflict"), f"{status} {body}")
    expect(n_made >= 1, "one order won")
    expect(clients[0].wait("at-once")["status"] == "completed", "and completed")
    listed = clients[0].get("/certificates/at-once/versions")["value"]
    expect(len(listed) == n_made, f"{n_made} orders, {len(listed)} versions")
    print(f"ok {n_made} of {len(results)} orders at once")


def see_pending(dev, client, name):
    """Order, and end the keyring before it can sign. Whether the order is then seen
    pending depends on who was faster."""
    client.order(name, policy({"kty": "EC", "crv": "P-256"}))
    os.kill(dev.role_pid("keyvault-keyring"), signal.SIGKILL)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        status, operation = client.api.call("GET", f"/certificates/{name}/pending")
        if status == 200:
            return operation["status"] == "inProgress"
        expect(status == 503, f"{status} {operation}")
        time.sleep(0.02)
    raise AssertionError("the keyring does not come back")


def check_pending(client, name):
    """What a first version looks like until its certificate is there."""
    bundle = client.get(f"/certificates/{name}")
    if bundle["attributes"]["enabled"]:
        return False
    expect(not {"cer", "kid", "sid", "x5t"} & set(bundle), f"nothing issued: {bundle}")
    expect(bundle["policy"]["issuer"]["name"] == "Self", "policy")
    expect(bundle["pending"]["id"].endswith(f"/certificates/{name}/pending"), "pending")
    ids = [item["id"] for item in all_items(client, "/certificates")]
    with_pending = [item["id"] for item in all_items(client, "/certificates?includePending=true")]
    base = bundle["id"].rsplit("/", 1)[0]
    in_progress = client.get(f"/certificates/{name}/pending")["status"] == "inProgress"
    expect(not in_progress or base not in ids and base in with_pending, "listed on request")
    status, body = client.api.call("POST", f"/certificates/{name}/create", {"policy": policy()})
    expect(status == 202 or body["error"]["id"] == "cert.in-progress", body)
    return in_progress and status == 409


def pending(dev, client):
    """Orders whose keyring ends: they always complete. What one looks like until then
    is checked when it can be caught (test_api_certificates.c does it in any case)."""
    n_seen = 0
    for n in range(4):
        name = f"pending-{n}"
        if see_pending(dev, client, name):
            n_seen += check_pending(client, name)
        expect(client.wait(name)["status"] == "completed", "it completes")
        check_bundle(client, client.get(f"/certificates/{name}"))
        if n_seen >= 2:
            break
    print(f"ok pending orders, {n_seen} of {n + 1} seen")


def main():
    with Dev(sys.argv[1]) as dev:
        files.append(dev.work)
        clients = (https_client(dev), unix_client(dev))
        orders(clients)
        for n, part in enumerate((content_types, versions, policies, not_found, lists,
                                  managed_names, bad_fields, disabled)):
            part(clients[n % 2])
        sign_with_key(clients[0], dev.work)
        at_once(dev, clients)
        pending(dev, clients[1])
        expect("PRIVATE KEY" not in dev.log_text(), "the log keeps secrets")
    print("ok certificates")


if __name__ == "__main__":
    main()
