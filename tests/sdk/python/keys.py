"""KeyClient and CryptographyClient."""
import hashlib
import os

from azure.keyvault.keys import ApiVersion, JsonWebKey, KeyClient, KeyCurveName, KeyOperation, KeyType
from azure.keyvault.keys.crypto import EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from vault import equal, fresh, refused


def number(data):
    return int.from_bytes(data, "big")


def public_of(key):
    """The key as the package `cryptography` has it."""
    if key.key.kty == KeyType.rsa:
        return rsa.RSAPublicNumbers(number(key.key.e), number(key.key.n)).public_key()
    curve = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1,
             "P-256K": ec.SECP256K1}[key.key.crv]
    return ec.EllipticCurvePublicNumbers(number(key.key.x), number(key.key.y), curve()).public_key()


def test_create_rsa_keys(vault):
    for size in (2048, 3072, 4096):
        key = vault.keys.create_rsa_key(fresh("rsa"), size=size, tags={"size": str(size)})
        equal(len(key.key.n) * 8, size)
        equal(key.key.d, None)
        equal(sorted(key.key_operations),
              ["decrypt", "encrypt", "sign", "unwrapKey", "verify", "wrapKey"])
        equal(vault.keys.get_key(key.name).id, key.id)


def test_create_ec_keys(vault):
    for curve in (KeyCurveName.p_256, KeyCurveName.p_384, KeyCurveName.p_521, KeyCurveName.p_256_k):
        key = vault.keys.create_ec_key(fresh("ec"), curve=curve)
        equal((key.key_type, key.key.crv), (KeyType.ec, curve))


def test_sign_and_verify_with_every_algorithm(vault):
    table = [(SignatureAlgorithm.rs256, None), (SignatureAlgorithm.rs384, None),
             (SignatureAlgorithm.rs512, None), (SignatureAlgorithm.ps256, None),
             (SignatureAlgorithm.ps384, None), (SignatureAlgorithm.ps512, None),
             (SignatureAlgorithm.es256, "P-256"), (SignatureAlgorithm.es384, "P-384"),
             (SignatureAlgorithm.es512, "P-521"), (SignatureAlgorithm.es256_k, "P-256K")]
    rsa_key = vault.keys.create_rsa_key(fresh("rsa"))
    for algorithm, curve in table:
        key = vault.keys.create_ec_key(fresh("ec"), curve=curve) if curve else rsa_key
        bits = "256" if algorithm.endswith("256K") else algorithm[2:5]
        digest = hashlib.new("sha" + bits, b"message").digest()
        signed = vault.crypto(key).sign(algorithm, digest)
        equal(signed.key_id, key.id)
        prehashed = utils.Prehashed(getattr(hashes, "SHA" + bits)())
        if curve:
            half = len(signed.signature) // 2
            r, s = number(signed.signature[:half]), number(signed.signature[half:])
            public_of(key).verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(prehashed))
        else:
            pad = padding.PKCS1v15() if algorithm.startswith("RS") else padding.PSS(
                padding.MGF1(getattr(hashes, "SHA" + bits)()), len(digest))
            public_of(key).verify(signed.signature, digest, pad, prehashed)
        assert vault.crypto(key).verify(algorithm, digest, signed.signature).is_valid
        remote = vault.crypto(key.id)
        assert remote.verify(algorithm, digest, signed.signature).is_valid
        assert not remote.verify(algorithm, hashlib.new("sha" + bits, b"no").digest(),
                                 signed.signature).is_valid


def test_encrypt_decrypt_wrap_and_unwrap(vault):
    key = vault.keys.create_rsa_key(fresh("rsa"))
    crypto = vault.crypto(key)
    for name in ("rsa1_5", "rsa_oaep", "rsa_oaep_256"):
        encryption = getattr(EncryptionAlgorithm, name)
        closed = crypto.encrypt(encryption, b"plain text")
        equal(crypto.decrypt(encryption, closed.ciphertext).plaintext, b"plain text")
        wrapping = getattr(KeyWrapAlgorithm, name)
        data_key = os.urandom(32)
        wrapped = crypto.wrap_key(wrapping, data_key)
        equal(crypto.unwrap_key(wrapping, wrapped.encrypted_key).key, data_key)


def test_a_crypto_client_of_the_key_client(vault):
    key = vault.keys.create_ec_key(fresh("ec"))
    crypto = vault.keys.get_cryptography_client(key.name)
    digest = hashlib.sha256(b"m").digest()
    equal(crypto.sign(SignatureAlgorithm.es256, digest).key_id, key.id)


def test_import(vault):
    own = ec.generate_private_key(ec.SECP256R1())
    private = own.private_numbers()
    jwk = JsonWebKey(kty="EC", crv="P-256", key_ops=["sign", "verify"],
                     x=private.public_numbers.x.to_bytes(32, "big"),
                     y=private.public_numbers.y.to_bytes(32, "big"),
                     d=private.private_value.to_bytes(32, "big"))
    key = vault.keys.import_key(fresh("import"), jwk)
    equal(key.key.x, jwk.x)
    digest = hashlib.sha256(b"m").digest()
    signed = vault.crypto(key).sign(SignatureAlgorithm.es256, digest).signature
    der = utils.encode_dss_signature(number(signed[:32]), number(signed[32:]))
    own.public_key().verify(der, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def test_update(vault):
    key = vault.keys.create_rsa_key(fresh("update"))
    changed = vault.keys.update_key_properties(
        key.name, key_operations=[KeyOperation.sign], tags={"a": "b"})
    equal(changed.key_operations, ["sign"])
    equal(changed.properties.tags, {"a": "b"})
    vault.keys.update_key_properties(key.name, enabled=False)
    digest = hashlib.sha256(b"m").digest()
    refused(403, "Forbidden", vault.crypto(key.id)._client.sign, vault.url, key.name, "",
            vault.crypto(key.id)._models.KeySignParameters(algorithm="RS256", value=digest))


def test_versions_and_lists(vault):
    name = fresh("versions")
    made = [vault.keys.create_ec_key(name).properties.version for _ in range(3)]
    listed = [p.version for p in vault.keys.list_properties_of_key_versions(name)]
    equal(sorted(listed), sorted(made))
    equal(vault.keys.get_key(name).properties.version, made[-1])
    equal(vault.keys.get_key(name, made[0]).properties.version, made[0])
    equal([p.name for p in vault.keys.list_properties_of_keys()].count(name), 1)


def test_delete_recover_and_purge(vault):
    name = fresh("gone")
    made = vault.keys.create_ec_key(name)
    deleted = vault.keys.begin_delete_key(name, _polling_interval=0.05).result()
    equal(deleted.recovery_id, f"{vault.url}/deletedkeys/{name}")
    assert name in [one.name for one in vault.keys.list_deleted_keys()]
    refused(404, "KeyNotFound", vault.keys.get_key, name)
    vault.keys.begin_recover_deleted_key(name, _polling_interval=0.05).wait()
    equal(vault.keys.get_key(name).id, made.id)
    vault.keys.begin_delete_key(name, _polling_interval=0.05).wait()
    vault.keys.purge_deleted_key(name)
    refused(404, "KeyNotFound", vault.keys.get_deleted_key, name)


def test_backup_and_restore(vault):
    name = fresh("backup")
    made = vault.keys.create_ec_key(name)
    blob = vault.keys.backup_key(name)
    vault.keys.begin_delete_key(name, _polling_interval=0.05).wait()
    vault.keys.purge_deleted_key(name)
    equal(vault.keys.restore_key_backup(blob).id, made.id)
    digest = hashlib.sha256(b"m").digest()
    signed = vault.crypto(made.id).sign(SignatureAlgorithm.es256, digest).signature
    der = utils.encode_dss_signature(number(signed[:32]), number(signed[32:]))
    public_of(made).verify(der, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def test_refusals(vault):
    refused(404, "KeyNotFound", vault.keys.get_key, fresh("none"))
    refused(400, "BadParameter", vault.keys.create_rsa_key, fresh("bad"), size=1024)
    refused(400, "BadParameter", vault.keys.create_key, "under_score", "RSA")
    refused(400, "BadParameter", vault.keys.create_key, fresh("bad"), "DSA")


def test_versions_of_the_api(vault):
    for version in ApiVersion:
        client = vault.client(KeyClient, api_version=version)
        if version == ApiVersion.V2016_10_01:
            refused(400, "BadParameter", client.get_key, "any")
            continue
        name = fresh("api")
        equal(client.create_ec_key(name).id, client.get_key(name).id, version)
