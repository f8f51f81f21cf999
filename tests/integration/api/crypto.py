"""Every type of key and every algorithm of the API, each result checked by openssl(1).

    python3 tests/integration/api/crypto.py BUILD
"""
import hashlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from api import Https  # noqa: E402
from dev import Dev  # noqa: E402
from jose import (CURVES, Openssl, b64, public_pem, signature_from_der,  # noqa: E402
                  signature_to_der, unb64)

MESSAGE = b"a message to sign"
RSA_SIGN = {f"{kind}{bits}": bits for kind in ("RS", "PS") for bits in (256, 384, 512)}
EC_SIGN = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "ES256K": "P-256K"}
ENCRYPT = {"RSA-OAEP": ["rsa_padding_mode:oaep"],
           "RSA-OAEP-256": ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256"],
           "RSA1_5": ["rsa_padding_mode:pkcs1"]}


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Vault:
    """The API, and openssl(1) beside it."""

    def __init__(self, dev):
        self.api = Https(dev)
        self.openssl = Openssl(dev.work)

    def ok(self, method, path, body=None):
        reply = self.api.send(method, path, body)
        expect(reply.status == 200, f"{method} {path}: {reply.status} {reply.body[:300]}")
        return reply.json

    def refused(self, path, body, status, code, error_id, inner=None):
        reply = self.api.send("POST", path, body)
        got = (reply.status, reply.error("code"), reply.error("id"), reply.error("inner"))
        expect(got == (status, code, error_id, inner),
               f"{path} {body}: {got}, expected {(status, code, error_id, inner)}")
        return reply.error("message")

    def create(self, name, **body):
        bundle = self.ok("POST", f"/keys/{name}/create", body)
        self.openssl.write(name + ".pub", public_pem(bundle["key"]))
        return bundle

    def use(self, kid, operation, **body):
        reply = self.ok("POST", kid[kid.index("/keys/"):] + "/" + operation, body)
        if operation != "verify":
            expect(reply["kid"].startswith(kid.rstrip("/")), "kid")
            expect(len(reply["kid"].rsplit("/", 1)[1]) == 32, "kid is versioned")
        return reply["value"]


def digest_of(bits):
    return hashlib.new(f"sha{bits}", MESSAGE).digest()


def rsa_options(alg, bits):
    options = [f"digest:sha{bits}"]
    if alg.startswith("PS"):
        options += ["rsa_padding_mode:pss", "rsa_pss_saltlen:digest",
                    f"rsa_mgf1_md:sha{bits}"]
    return options


def verified(vault, name, alg, signature):
    """Whether openssl(1) takes a signature of MESSAGE, made with this algorithm."""
    extra = ["-pubin", "-sigfile", "sig"]
    if alg == "EdDSA":
        vault.openssl.write("sig", signature)
        return vault.openssl.pkeyutl("-verify", name + ".pub", MESSAGE, (), extra + ["-rawin"])
    bits = int(CURVES[EC_SIGN[alg]][3][3:]) if alg in EC_SIGN else RSA_SIGN[alg]
    options = () if alg in EC_SIGN else rsa_options(alg, bits)
    vault.openssl.write("sig", signature_to_der(signature) if alg in EC_SIGN else signature)
    return vault.openssl.pkeyutl("-verify", name + ".pub", digest_of(bits), options, extra)


def value_for(alg):
    if alg == "EdDSA":
        return MESSAGE
    bits = int(CURVES[EC_SIGN[alg]][3][3:]) if alg in EC_SIGN else RSA_SIGN[alg]
    return digest_of(bits)


def round_trip(vault, name, kid, alg):
    value = b64(value_for(alg))
    signature = vault.use(kid, "sign", alg=alg, value=value)
    raw = unb64(signature)
    expect(verified(vault, name, alg, raw), f"openssl takes {alg} of {name}")
    spoilt = bytes([raw[0] ^ 1]) + raw[1:]
    expect(not verified(vault, name, alg, spoilt), "and no other signature")

    def verify(digest, sig):
        return vault.use(kid, "verify", alg=alg, digest=digest, value=sig)

    expect(verify(value, signature) is True, f"{alg} verifies")
    other = value_for(alg)[:-1] + b"\0"
    expect(verify(b64(other), signature) is False, "another digest")
    for wrong in (spoilt, raw[:-1], raw + b"\0", b"\0" * len(raw), b"", b"\xff" * len(raw)):
        expect(verify(value, b64(wrong)) is False, f"{alg}: a signature of {len(wrong)} bytes")


def signatures(vault):
    for bits in (2048, 3072, 4096):
        name = f"rsa{bits}"
        kid = vault.create(name, kty="RSA", key_size=bits)["key"]["kid"]
        for alg in RSA_SIGN if bits == 2048 else ("RS256", "PS512"):
            round_trip(vault, name, kid, alg)
    for alg, crv in EC_SIGN.items():
        kid = vault.create("ec-" + crv, kty="EC", crv=crv)["key"]["kid"]
        round_trip(vault, "ec-" + crv, kid, alg)
        sizes = {len(unb64(vault.use(kid, "sign", alg=alg, value=b64(value_for(alg)))))
                 for _ in range(20)}
        expect(sizes == {2 * CURVES[crv][2]}, f"{alg}: r and s of fixed length, not {sizes}")
    kid = vault.create("ed", kty="OKP")["key"]["kid"]
    round_trip(vault, "ed", kid, "EdDSA")
    expect(vault.use(kid, "sign", alg="EdDSA", value=b64(b"")) ==
           vault.use(kid, "sign", alg="EdDSA", value=b64(b"")), "Ed25519 has no chance in it")
    vault.use(kid, "sign", alg="EdDSA", value=b64(b"x" * 32768))
    vault.refused("/keys/ed//sign", {"alg": "EdDSA", "value": b64(b"x" * 32769)},
                  400, "BadParameter", "api.bad-field")


def shapes(vault):
    rsa = vault.create("shape", kty="RSA")
    expect(sorted(rsa["key"]) == ["e", "key_ops", "kid", "kty", "n"], f"{rsa['key']}")
    expect(rsa["key"]["key_ops"] == ["encrypt", "decrypt", "sign", "verify", "wrapKey",
                                     "unwrapKey"], "default operations of RSA")
    expect(rsa["key"]["e"] == "AQAB" and len(unb64(rsa["key"]["n"])) == 256, "2048 bits")
    attributes = rsa["attributes"]
    expect(attributes["enabled"] is True and attributes["exportable"] is False, "attributes")
    expect(attributes["recoveryLevel"] == "Recoverable+Purgeable"
           and attributes["recoverableDays"] == 90, "soft delete")
    expect("nbf" not in attributes and "exp" not in attributes and "tags" not in rsa,
           "what is not set is not there")
    ec = vault.create("shape", kty="EC", tags={"a": "\u00e4"}, attributes={
        "enabled": True, "nbf": 1700000000, "exp": -192522496})
    expect(ec["key"]["crv"] == "P-256" and ec["key"]["key_ops"] == ["sign", "verify"], "EC")
    expect(ec["attributes"]["exp"] == 4102444800, "a date that 32 bits could not hold")
    expect(ec["tags"] == {"a": "\u00e4"}, "tags")
    first, second = (b["key"]["kid"].rsplit("/", 1)[1] for b in (rsa, ec))
    expect(vault.ok("GET", "/keys/SHAPE") == ec, "the newest; names have no case")
    expect(vault.ok("GET", f"/keys/shape/{first}") == rsa, "an old version stays")
    kids = [item["kid"] for item in vault.ok("GET", "/keys/shape/versions")["value"]]
    expect(sorted(k.rsplit("/", 1)[1] for k in kids) == sorted([first, second]), "versions")


def encryption(vault):
    kid = vault.ok("GET", "/keys/rsa2048")["key"]["kid"]
    for alg, options in ENCRYPT.items():
        for plain in (b"x", b"\0" * 32, bytes(range(190))):
            encrypted = vault.use(kid, "encrypt", alg=alg, value=b64(plain))
            expect(unb64(vault.use(kid, "decrypt", alg=alg, value=encrypted)) == plain, alg)
            wrapped = vault.use(kid, "wrapkey", alg=alg, value=b64(plain))
            expect(wrapped != encrypted, "chance is in it")
            expect(unb64(vault.use(kid, "unwrapkey", alg=alg, value=wrapped)) == plain, alg)
            theirs = vault.openssl.pkeyutl("-encrypt", "rsa2048.pub", plain, options,
                                           ["-pubin"])
            expect(unb64(vault.use(kid, "decrypt", alg=alg, value=b64(theirs))) == plain,
                   f"{alg} of openssl")
        if alg != "RSA1_5":
            spoilt = unb64(encrypted)
            spoilt = spoilt[:-1] + bytes([spoilt[-1] ^ 1])
            vault.refused("/keys/rsa2048//decrypt", {"alg": alg, "value": b64(spoilt)},
                          400, "BadParameter", "key.decrypt-failed")
    for length in (0, 1, 255, 257):
        vault.refused("/keys/rsa2048//decrypt",
                      {"alg": "RSA-OAEP", "value": b64(b"\0" * length)},
                      400, "BadParameter", "key.decrypt-failed")
    # RSA1_5 tells nobody whether the padding was right
    made_up = vault.use(kid, "decrypt", alg="RSA1_5", value=b64(b"\1" * 256))
    expect(made_up == vault.use(kid, "decrypt", alg="RSA1_5", value=b64(b"\1" * 256)),
           "implicit rejection is the same each time")


def imports(vault):
    openssl = vault.openssl
    openssl.run("genrsa", "-out", "i-rsa.pem", "2048")
    for crv, row in CURVES.items():
        openssl.run("ecparam", "-name", row[0], "-genkey", "-noout", "-out", f"i-{crv}.pem")
    openssl.run("genpkey", "-algorithm", "ed25519", "-out", "i-ed.pem")
    algs = {"i-rsa": ["RS256", "PS384"], "i-ed": ["EdDSA"],
            **{f"i-{crv}": [alg] for alg, crv in EC_SIGN.items()}}
    for name, names in algs.items():
        jwk = openssl.private_jwk(name + ".pem")
        bundle = vault.ok("PUT", f"/keys/{name}", {"key": jwk, "tags": {"from": "openssl"}})
        expect(not set(bundle["key"]) & {"d", "p", "q", "dp", "dq", "qi", "k"},
               "nothing private comes back")
        expect(bundle["tags"] == {"from": "openssl"}, "tags")
        openssl.run("pkey", "-in", name + ".pem", "-pubout", "-out", "their.pub")
        theirs = (openssl.work / "their.pub").read_text()
        expect("".join(public_pem(bundle["key"]).split()) == "".join(theirs.split()),
               f"{name}: the same public key")
        openssl.write(name + ".pub", public_pem(bundle["key"]))
        for alg in names:
            round_trip(vault, name, bundle["key"]["kid"], alg)
            expect(vault.use(bundle["key"]["kid"], "verify", alg=alg, digest=b64(
                value_for(alg)), value=b64(their_signature(vault, name, alg))) is True,
                f"{alg} of openssl")
    theirs = vault.ok("GET", "/keys/i-rsa")["key"]["kid"]
    for alg, options in ENCRYPT.items():
        encrypted = unb64(vault.use(theirs, "encrypt", alg=alg, value=b64(b"secret")))
        expect(openssl.pkeyutl("-decrypt", "i-rsa.pem", encrypted, options) == b"secret",
               f"openssl decrypts {alg}")


def their_signature(vault, name, alg):
    key = name + ".pem"
    if alg == "EdDSA":
        return vault.openssl.pkeyutl("-sign", key, MESSAGE, (), ["-rawin"])
    if alg in EC_SIGN:
        made = vault.openssl.pkeyutl("-sign", key, value_for(alg))
        return signature_from_der(made, CURVES[EC_SIGN[alg]][2])
    return vault.openssl.pkeyutl("-sign", key, value_for(alg), rsa_options(alg, RSA_SIGN[alg]))


def bad_imports(vault):
    rsa, ec = (vault.openssl.private_jwk(f"i-{n}.pem") for n in ("rsa", "P-256"))
    other = vault.openssl.private_jwk("i-P-384.pem")
    vault.openssl.run("genrsa", "-out", "small.pem", "1024")
    small = vault.openssl.private_jwk("small.pem")
    rows = [
        ({}, "api.missing-field"),
        ({"key": None}, "api.missing-field"),
        ({"key": "text"}, "api.bad-field"),
        ({"key": {"kty": "oct", "k": "AQ"}}, "api.bad-field"),
        ({"key": {"kty": "RSA-HSM", **{k: v for k, v in rsa.items() if k != "kty"}}},
         "key.needs-premium"),
        ({"key": {"kty": "oct-HSM", "k": "AQ"}}, "api.bad-field"),
        ({"key": rsa, "Hsm": True}, "key.needs-premium"),
        ({"key": {k: v for k, v in rsa.items() if k != "d"}}, "api.missing-field"),
        ({"key": {**rsa, "n": rsa["n"] + "=="}}, "api.bad-field"),
        ({"key": {**rsa, "key_ops": ["deriveBits"]}}, "api.bad-key-ops"),
        ({"key": {**ec, "crv": "P-384"}}, "api.bad-field"),
        ({"key": {**ec, "crv": "secp256r1"}}, "api.bad-field"),
        ({"key": rsa, "attributes": {"exportable": True}}, "api.bad-field"),
        ({"key": rsa, "release_policy": {"data": "AQ"}}, "api.bad-field"),
        # what only the keyring can see
        ({"key": {**rsa, "p": rsa["q"], "q": rsa["p"]}}, None),
        ({"key": {**rsa, "d": rsa["p"]}}, None),
        ({"key": {**rsa, "e": "Aw"}}, None),
        ({"key": {**ec, "d": b64(b"\1" * 32)}}, None),
        ({"key": {**ec, "x": ec["y"], "y": ec["x"]}}, None),
        ({"key": {**ec, "d": b64(b"\0" * 32)}}, None),
        ({"key": {**ec, "d": b64(b"\xff" * 32)}}, None),
        ({"key": {**other, "crv": "P-256"}}, None),
        ({"key": small}, None),
    ]
    for body, error_id in rows:
        reply = vault.api.send("PUT", "/keys/bad", body)
        code = "NotSupported" if reply.error("id") == "key.unsupported" else "BadParameter"
        expect(reply.status == 400 and reply.error("code") == code,
               f"{error_id} {list(body.get('key') or {})}: {reply.status} {reply.body}")
        expect(error_id is None or reply.error("id") == error_id, f"{reply.body}")
        for secret in (rsa["d"], rsa["p"], ec["d"]):
            expect(secret.encode() not in reply.body, "a refusal quotes nothing")
    expect(vault.api.send("GET", "/keys/bad").status == 404, "nothing was kept")


def bad_uses(vault):
    vault.create("only-verify", kty="EC", key_ops=["verify"])
    vault.create("disabled", kty="EC", attributes={"enabled": False})
    vault.create("expired", kty="RSA", attributes={"exp": 1000})
    vault.create("early", kty="RSA", attributes={"nbf": 4000000000})
    es256 = {"alg": "ES256", "value": b64(digest_of(256))}
    rs256 = {"alg": "RS256", "value": b64(digest_of(256))}
    forbidden = (403, "Forbidden")
    vault.refused("/keys/only-verify//sign", es256, *forbidden, "key.op-not-permitted",
                  "KeyOperationForbidden")
    vault.refused("/keys/disabled//sign", es256, *forbidden, "key.disabled", "KeyDisabled")
    for name, error_id, inner in (("expired", "key.expired", "KeyExpired"),
                                  ("early", "key.not-yet-valid", "KeyNotYetValid")):
        vault.refused(f"/keys/{name}//sign", rs256, *forbidden, error_id, inner)
        oaep = {"alg": "RSA-OAEP", "value": b64(b"x")}
        for operation in ("encrypt", "wrapkey"):
            vault.refused(f"/keys/{name}//{operation}", oaep, *forbidden, error_id, inner)
        made = vault.openssl.pkeyutl("-encrypt", name + ".pub", b"x", ENCRYPT["RSA-OAEP"],
                                     ["-pubin"])
        for operation in ("decrypt", "unwrapkey"):
            expect(unb64(vault.ok("POST", f"/keys/{name}//{operation}", {
                "alg": "RSA-OAEP", "value": b64(made)})["value"]) == b"x",
                f"{name}: old data can be read")
        expect(vault.ok("POST", f"/keys/{name}//verify", {
            "alg": "RS256", "digest": b64(digest_of(256)), "value": b64(b"\1" * 256)})
            == {"value": False}, "and old signatures checked")
    bad = (400, "BadParameter")
    rows = [
        ("sign", {}, "api.missing-field"),
        ("sign", {"alg": "RS256"}, "api.missing-field"),
        ("sign", {"alg": None, "value": "AQ"}, "api.missing-field"),
        ("sign", {"alg": 1, "value": "AQ"}, "api.bad-field"),
        ("sign", {"alg": "rs256", "value": b64(digest_of(256))}, "api.bad-algorithm"),
        ("sign", {"alg": "ES256", "value": b64(digest_of(256))}, "api.bad-algorithm"),
        ("sign", {"alg": "HS256", "value": b64(digest_of(256))}, "api.bad-algorithm"),
        ("sign", {"alg": "RSNULL", "value": b64(b"x")}, "api.bad-algorithm"),
        ("sign", {"alg": "RSA-OAEP", "value": b64(b"x")}, "api.bad-algorithm"),
        ("sign", {"alg": "none", "value": ""}, "api.bad-algorithm"),
        ("sign", {"alg": "RS256", "value": b64(b"x" * 31)}, "api.bad-field"),
        ("sign", {"alg": "RS256", "value": b64(digest_of(512))}, "api.bad-field"),
        ("sign", {"alg": "RS256", "value": ""}, "api.bad-field"),
        ("sign", {"alg": "RS256", "value": "!"}, "api.bad-field"),
        ("sign", {"alg": "RS256", "value": b64(digest_of(256)) + "="}, "api.bad-field"),
        ("sign", {"alg": "RS256", "value": digest_of(256).hex()}, "api.bad-field"),
        ("verify", {"alg": "RS256", "value": "AQ"}, "api.missing-field"),
        ("verify", {"alg": "RS256", "digest": b64(digest_of(256))}, "api.missing-field"),
        ("verify", {"alg": "RS256", "digest": "AQ", "value": "AQ"}, "api.bad-field"),
        ("encrypt", {"alg": "A128GCM", "value": "AQ"}, "api.bad-algorithm"),
        ("encrypt", {"alg": "RSA-OAEP", "value": "AQ", "iv": "AQ"}, "api.bad-field"),
        ("encrypt", {"alg": "RSA-OAEP", "value": "AQ", "aad": "AQ"}, "api.bad-field"),
        ("decrypt", {"alg": "RSA-OAEP", "value": "AQ", "tag": "AQ"}, "api.bad-field"),
        ("unwrapkey", {"alg": "RSA-OAEP", "value": 1}, "api.bad-field"),
    ]
    for operation, body, error_id in rows:
        vault.refused(f"/keys/rsa2048//{operation}", body, *bad, error_id)
    message = vault.refused("/keys/ec-P-256//encrypt", {"alg": "RSA-OAEP", "value": "AQ"},
                            *bad, "api.bad-algorithm")
    expect(message.endswith(": none"), message)
    message = vault.refused("/keys/ec-P-384//sign", es256, *bad, "api.bad-algorithm")
    expect("ES384" in message and "ES256" not in message, message)
    reply = vault.api.send("POST", "/keys/rsa2048//encrypt", {
        "alg": "RSA-OAEP", "value": b64(b"x" * 215)})
    expect(reply.status == 400 and reply.error("code") == "BadParameter",
           f"plaintext too long: {reply.status} {reply.body}")


def bad_creates(vault):
    rows = [
        ({}, "api.missing-field"),
        ({"kty": None}, "api.missing-field"),
        ({"kty": 1}, "api.bad-field"),
        ({"kty": "DSA"}, "api.bad-field"),
        ({"kty": "rsa"}, "api.bad-field"),
        ({"kty": "oct"}, "api.bad-field"),
        ({"kty": "EC-HSM"}, "key.needs-premium"),
        ({"kty": "RSA", "key_size": 1024}, "api.bad-field"),
        ({"kty": "RSA", "key_size": 2049}, "api.bad-field"),
        ({"kty": "RSA", "key_size": -2048}, "api.bad-field"),
        ({"kty": "RSA", "key_size": 2 ** 32 + 2048}, "api.bad-field"),
        ({"kty": "RSA", "key_size": 2048.0}, "api.bad-field"),
        ({"kty": "RSA", "key_size": "2048"}, "api.bad-field"),
        ({"kty": "RSA", "public_exponent": 3}, "api.bad-field"),
        ({"kty": "EC", "crv": "P-224"}, "api.bad-field"),
        ({"kty": "EC", "crv": "p-256"}, "api.bad-field"),
        ({"kty": "EC", "crv": "Ed25519"}, "api.bad-field"),
        ({"kty": "EC", "crv": "P-256", "key_size": 384}, "api.bad-field"),
        ({"kty": "OKP", "crv": "P-256"}, "api.bad-field"),
        ({"kty": "OKP", "crv": "X25519"}, "api.bad-field"),
        ({"kty": "EC", "key_ops": ["encrypt"]}, "api.bad-key-ops"),
        ({"kty": "EC", "key_ops": ["caSign"]}, "api.bad-key-ops"),
        ({"kty": "EC", "key_ops": "sign"}, "api.bad-field"),
        ({"kty": "EC", "attributes": {"exportable": True}}, "api.bad-field"),
        ({"kty": "EC", "release_policy": {}}, "api.bad-field"),
        ({"kty": "EC", "attributes": {"exportable": True}, "release_policy": {}},
         "api.not-offered"),
        ({"kty": "EC", "attributes": {"enabled": "yes"}}, "api.bad-field"),
        ({"kty": "EC", "attributes": {"nbf": 2, "exp": 1}}, "api.bad-field"),
        ({"kty": "EC", "attributes": {"exp": "2030-01-01"}}, "api.bad-field"),
        ({"kty": "EC", "tags": {str(i): "" for i in range(16)}}, "api.bad-field"),
        ({"kty": "EC", "tags": ["a"]}, "api.bad-field"),
    ]
    for body, error_id in rows:
        code = "NotSupported" if error_id == "api.not-offered" else "BadParameter"
        vault.refused("/keys/bad/create", body, 400, code, error_id)
    expect(vault.api.send("GET", "/keys/bad").status == 404, "nothing was made")


def main():
    with Dev(sys.argv[1]) as dev:
        vault = Vault(dev)
        for step in (shapes, signatures, encryption, imports, bad_imports, bad_uses,
                     bad_creates):
            step(vault)
            print(f"ok {step.__name__}", flush=True)


if __name__ == "__main__":
    main()
