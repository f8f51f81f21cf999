"""JSON Web Keys to and from what openssl(1) reads and writes; a few lines of DER."""
import base64
import os
import pathlib
import subprocess

CURVES = {  # JOSE name: (openssl name, object identifier, bytes of a coordinate, digest)
    "P-256": ("prime256v1", "2a8648ce3d030107", 32, "sha256"),
    "P-384": ("secp384r1", "2b81040022", 48, "sha384"),
    "P-521": ("secp521r1", "2b81040023", 66, "sha512"),
    "P-256K": ("secp256k1", "2b8104000a", 32, "sha256"),
}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    assert "=" not in text and "+" not in text and "/" not in text, "base64url, unpadded"
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(value):
    return b64(value.to_bytes((value.bit_length() + 7) // 8 or 1, "big"))


def der(tag, *parts):
    content = b"".join(parts)
    n = len(content)
    length = bytes([n]) if n < 128 else bytes([0x80 + (n.bit_length() + 7) // 8]) + \
        n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([tag]) + length + content


def der_integer(value):
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def der_items(data):
    """(tag, content) of each element in a row."""
    items = []
    while data:
        length, at = data[1], 2
        if length >= 128:
            at += length - 128
            length = int.from_bytes(data[2:at], "big")
        items.append((data[0], data[at:at + length]))
        data = data[at + length:]
    return items


def der_integers(data):
    return [int.from_bytes(content, "big") for tag, content in der_items(data) if tag == 2]


def signature_to_der(raw):
    half = len(raw) // 2
    return der(0x30, *(der_integer(int.from_bytes(part, "big"))
                       for part in (raw[:half], raw[half:])))


def signature_from_der(data, half):
    (_, content), = der_items(data)
    return b"".join(value.to_bytes(half, "big") for value in der_integers(content))


def public_pem(jwk):
    """The SubjectPublicKeyInfo of a public JWK as PEM."""
    if jwk["kty"] == "RSA":
        algorithm = der(0x30, der(6, bytes.fromhex("2a864886f70d010101")), der(5))
        key = der(0x30, *(der_integer(int.from_bytes(unb64(jwk[field]), "big"))
                          for field in ("n", "e")))
    elif jwk["kty"] == "EC":
        oid, size = CURVES[jwk["crv"]][1:3]
        x, y = unb64(jwk["x"]), unb64(jwk["y"])
        assert len(x) == len(y) == size, "coordinates have the length of the curve"
        algorithm = der(0x30, der(6, bytes.fromhex("2a8648ce3d0201")),
                        der(6, bytes.fromhex(oid)))
        key = b"\x04" + x + y
    else:
        assert jwk["kty"] == "OKP" and jwk["crv"] == "Ed25519"
        algorithm = der(0x30, der(6, bytes.fromhex("2b6570")))
        key = unb64(jwk["x"])
    text = base64.encodebytes(der(0x30, algorithm, der(3, b"\0" + key))).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n"


class Openssl:
    """openssl(1) in a directory of its own, never with the vault's module."""

    def __init__(self, work):
        self.work = pathlib.Path(work)
        self.env = {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}

    def run(self, *args, check=True):
        done = subprocess.run(["openssl", *map(str, args)], cwd=self.work, env=self.env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check and done.returncode != 0:
            raise AssertionError(f"openssl {args}: {done.stderr.decode()}")
        return done.stdout if check else done.returncode == 0

    def write(self, name, data):
        (self.work / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return name

    def pkeyutl(self, verb, key, data, options=(), extra=()):
        """Output of `openssl pkeyutl VERB` over `data`; for -verify whether it fits."""
        args = ["pkeyutl", verb, "-inkey", key, "-in", self.write("in", data)]
        for option in options:
            args += ["-pkeyopt", option]
        return self.run(*args, *extra, check=verb != "-verify")

    def private_jwk(self, pem):
        """The private JWK of a key file, and the JOSE name of its curve if it has one."""
        out = self.run("pkey", "-in", pem, "-outform", "DER", "-traditional")
        (_, content), = der_items(out)
        items = der_items(content)
        if len(items) >= 9:  # RSAPrivateKey
            values = der_integers(content)[1:9]
            return {"kty": "RSA", **dict(zip(("n", "e", "d", "p", "q", "dp", "dq", "qi"),
                                             map(number, values)))}
        if items[1][0] == 4:  # ECPrivateKey
            tagged = dict(items)
            oid = der_items(tagged[0xA0])[0][1].hex()
            crv = next(name for name, row in CURVES.items() if row[1] == oid)
            point = der_items(tagged[0xA1])[0][1][2:]
            half = len(point) // 2
            return {"kty": "EC", "crv": crv, "x": b64(point[:half]), "y": b64(point[half:]),
                    "d": b64(items[1][1])}
        secret = der_items(items[2][1])[0][1]  # PKCS #8, Ed25519
        public = self.run("pkey", "-in", pem, "-pubout", "-outform", "DER")[-32:]
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(public), "d": b64(secret)}
