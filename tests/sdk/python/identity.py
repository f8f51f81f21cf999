"""azure.identity against the vault's own authority."""
import json

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential, ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.secrets import SecretClient

from vault import equal, fresh, refused


def create_app(vault, role, *flags):
    return json.loads(vault.dev.cli("app", "create", fresh("app"), "--role", role, "--json", *flags))


def options(vault):
    return {"authority": vault.dev.env["KEYVAULT_AUTHORITY"], "instance_discovery": False,
            "connection_verify": vault.dev.env["KEYVAULT_CA"]}


def test_client_secret_credential(vault):
    app = create_app(vault, "secrets-officer")
    credential = ClientSecretCredential(app["tenantId"], app["clientId"], app["clientSecret"],
                                        **options(vault))
    client = vault.client(SecretClient, credential)
    name = fresh("by-app")
    client.set_secret(name, "v")
    equal(client.get_secret(name).value, "v")
    refused(403, "Forbidden", vault.client(KeyClient, credential).create_ec_key, fresh("key"))


def test_a_wrong_secret(vault):
    app = create_app(vault, "secrets-officer")
    credential = ClientSecretCredential(app["tenantId"], app["clientId"], "wrong",
                                        **options(vault))
    try:
        vault.client(SecretClient, credential).get_secret("any")
    except ClientAuthenticationError as error:
        assert "7000215" in str(error), error
    else:
        raise AssertionError("it was let in")


def test_certificate_credential(vault):
    vault.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "app.key", "-out",
                  "app.crt", "-days", "9", "-subj", "/CN=app")
    (vault.work / "app.pem").write_bytes(vault.read("app.key") + vault.read("app.crt"))
    app = create_app(vault, "crypto-officer", "--certificate", vault.work / "app.crt")
    credential = CertificateCredential(app["tenantId"], app["clientId"],
                                       str(vault.work / "app.pem"), **options(vault))
    client = vault.client(KeyClient, credential)
    key = client.create_ec_key(fresh("key"))
    equal(client.get_key(key.name).id, key.id)
