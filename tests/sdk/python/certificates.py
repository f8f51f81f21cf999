"""CertificateClient, and the key and secret of a certificate."""
import base64
import hashlib

from azure.keyvault.certificates import (ApiVersion, CertificateClient, CertificateContact,
                                         CertificateContentType, CertificatePolicy, KeyType,
                                         LifetimeAction)
from azure.keyvault.keys.crypto import SignatureAlgorithm
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.serialization import pkcs12

from vault import equal, fresh, refused


def create(vault, name, **more):
    policy = CertificatePolicy(issuer_name="Self", subject=f"CN={name}", **more)
    return vault.certificates.begin_create_certificate(name, policy, _polling_interval=0.1).result()


def test_create(vault):
    name = fresh("self")
    made = create(vault, name, san_dns_names=[f"{name}.example.com"], validity_in_months=5,
                  lifetime_actions=[LifetimeAction("AutoRenew", days_before_expiry=20)])
    cert = x509.load_der_x509_certificate(bytes(made.cer))
    equal(cert.subject.rfc4514_string(), f"CN={name}")
    equal(made.properties.x509_thumbprint, bytes(hashlib.sha1(made.cer).digest()))
    equal(made.policy.validity_in_months, 5)
    equal(made.policy.san_dns_names, [f"{name}.example.com"])
    equal(vault.certificates.get_certificate(name).id, made.id)
    equal(vault.certificates.get_certificate_version(name, made.properties.version).cer, made.cer)


def test_its_key_signs(vault):
    name = fresh("key")
    made = create(vault, name)
    key = vault.keys.get_key(name)
    equal(key.id, made.key_id)
    digest = hashlib.sha256(b"m").digest()
    signed = vault.crypto(key).sign(SignatureAlgorithm.rs256, digest).signature
    public = x509.load_der_x509_certificate(bytes(made.cer)).public_key()
    public.verify(signed, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))


def test_its_secret_is_a_pfx_or_pem_with_the_key(vault):
    for content in (CertificateContentType.pkcs12, CertificateContentType.pem):
        name = fresh("secret")
        made = create(vault, name, content_type=content, exportable=True)
        secret = vault.secrets.get_secret(name)
        equal(secret.properties.content_type, content)
        equal(secret.id, made.secret_id)
        if content == CertificateContentType.pkcs12:
            key, cert, _ = pkcs12.load_key_and_certificates(base64.b64decode(secret.value), None)
        else:
            key = serialization.load_pem_private_key(secret.value.encode(), None)
            cert = x509.load_pem_x509_certificate(
                secret.value[secret.value.index("-----BEGIN CERT"):].encode())
        equal(cert.public_bytes(serialization.Encoding.DER), bytes(made.cer))
        equal(key.public_key().public_numbers(), cert.public_key().public_numbers())


def outside(vault):
    """A key and certificate made elsewhere: work/o.key, o.pem, o.pfx."""
    vault.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "o.key", "-out",
                  "o.pem", "-days", "9", "-subj", "/CN=outside")
    vault.openssl("pkcs12", "-export", "-inkey", "o.key", "-in", "o.pem", "-out", "o.pfx",
                  "-passout", "pass:geheim")


def test_import_pfx_and_pem(vault):
    outside(vault)
    made = vault.certificates.import_certificate(fresh("pfx"), vault.read("o.pfx"),
                                                 password="geheim", tags={"a": "b"})
    equal(made.policy.subject, "CN=outside")
    equal(made.properties.tags, {"a": "b"})
    policy = CertificatePolicy(issuer_name="Unknown", content_type=CertificateContentType.pem)
    both = vault.read("o.key") + vault.read("o.pem")
    other = vault.certificates.import_certificate(fresh("pem"), both, policy=policy)
    equal(other.cer, made.cer)
    equal(other.policy.content_type, CertificateContentType.pem)
    refused(400, "BadParameter", vault.certificates.import_certificate, fresh("bad"),
            vault.read("o.pfx"), password="wrong")


def test_merge(vault):
    outside(vault)
    name = fresh("merge")
    policy = CertificatePolicy(issuer_name="Unknown", subject=f"CN={name}", key_type=KeyType.rsa)
    vault.certificates.begin_create_certificate(name, policy, _polling_interval=0.1)
    operation = vault.certificates.get_certificate_operation(name)
    equal(operation.status, "inProgress")
    (vault.work / "r.der").write_bytes(operation.csr)
    vault.openssl("x509", "-req", "-inform", "DER", "-in", "r.der", "-CA", "o.pem", "-CAkey",
                  "o.key", "-CAcreateserial", "-days", "5", "-outform", "DER", "-out", "l.der")
    merged = vault.certificates.merge_certificate(name, [vault.read("l.der")])
    equal(bytes(merged.cer), vault.read("l.der"))
    equal(vault.certificates.get_certificate_operation(name).status, "completed")


def test_cancel_and_delete_an_operation(vault):
    name = fresh("cancel")
    policy = CertificatePolicy(issuer_name="Unknown", subject=f"CN={name}")
    vault.certificates.begin_create_certificate(name, policy, _polling_interval=0.1)
    cancelled = vault.certificates.cancel_certificate_operation(name)
    equal(cancelled.cancellation_requested, True)
    vault.certificates.delete_certificate_operation(name)
    refused(404, "PendingCertificateNotFound", vault.certificates.get_certificate_operation, name)


def test_policy_and_properties(vault):
    name = fresh("policy")
    create(vault, name)
    policy = vault.certificates.get_certificate_policy(name)
    equal((policy.key_type, policy.key_size, policy.validity_in_months), (KeyType.rsa, 2048, 12))
    policy._validity_in_months = 7
    equal(vault.certificates.update_certificate_policy(name, policy).validity_in_months, 7)
    changed = vault.certificates.update_certificate_properties(name, enabled=False, tags={"a": "b"})
    equal((changed.properties.enabled, changed.properties.tags), (False, {"a": "b"}))
    refused(403, "Forbidden", vault.secrets.get_secret, name)


def test_versions_and_lists(vault):
    name = fresh("versions")
    first, second = create(vault, name), create(vault, name)
    listed = {p.version for p in vault.certificates.list_properties_of_certificate_versions(name)}
    equal(listed, {first.properties.version, second.properties.version})
    found = [p.name for p in vault.certificates.list_properties_of_certificates()]
    equal(found.count(name), 1)
    pending = fresh("pending")
    policy = CertificatePolicy(issuer_name="Unknown", subject="CN=p")
    vault.certificates.begin_create_certificate(pending, policy, _polling_interval=0.1)
    found = [p.name for p in vault.certificates.list_properties_of_certificates(include_pending=True)]
    assert pending in found, found


def test_delete_recover_and_purge(vault):
    name = fresh("gone")
    made = create(vault, name)
    deleted = vault.certificates.begin_delete_certificate(name, _polling_interval=0.05).result()
    equal(deleted.recovery_id, f"{vault.url}/deletedcertificates/{name}")
    refused(404, "KeyNotFound", vault.keys.get_key, name)
    assert name in [one.name for one in vault.certificates.list_deleted_certificates()]
    vault.certificates.begin_recover_deleted_certificate(name, _polling_interval=0.05).wait()
    equal(vault.certificates.get_certificate(name).cer, made.cer)
    vault.certificates.begin_delete_certificate(name, _polling_interval=0.05).wait()
    vault.certificates.purge_deleted_certificate(name)
    refused(404, "CertificateNotFound", vault.certificates.get_certificate, name)


def test_backup_and_restore(vault):
    name = fresh("backup")
    made = create(vault, name)
    blob = vault.certificates.backup_certificate(name)
    vault.certificates.begin_delete_certificate(name, _polling_interval=0.05).wait()
    vault.certificates.purge_deleted_certificate(name)
    equal(vault.certificates.restore_certificate_backup(blob).cer, made.cer)
    equal(vault.keys.get_key(name).id, made.key_id)


def test_contacts(vault):
    vault.certificates.set_contacts([CertificateContact(email="a@example.com", name="A", phone="1")])
    equal([c.email for c in vault.certificates.get_contacts()], ["a@example.com"])
    equal([c.name for c in vault.certificates.delete_contacts()], ["A"])
    refused(404, "ContactsNotFound", vault.certificates.get_contacts)


def test_issuers(vault):
    name = fresh("issuer")
    made = vault.certificates.create_issuer(name, "Test", account_id="7", password="p")
    equal((made.provider, made.account_id, made.password), ("Test", "7", None))
    equal(vault.certificates.update_issuer(name, account_id="8").account_id, "8")
    assert name in [i.id.rsplit("/", 1)[1] for i in vault.certificates.list_properties_of_issuers()]
    vault.certificates.delete_issuer(name)
    refused(404, "CertificateIssuerNotFound", vault.certificates.get_issuer, name)


def test_versions_of_the_api(vault):
    for version in (ApiVersion.V7_0, ApiVersion.V7_1, ApiVersion.V7_2, ApiVersion.V7_3):
        client = vault.client(CertificateClient, api_version=version)
        name = fresh("api")
        policy = CertificatePolicy(issuer_name="Self", subject="CN=a")
        made = client.begin_create_certificate(name, policy, _polling_interval=0.1).result()
        equal(client.get_certificate(name).id, made.id, version)
