"""SecretClient."""
from datetime import datetime, timedelta, timezone

from azure.core.exceptions import ClientAuthenticationError
from azure.keyvault.secrets import ApiVersion, KeyVaultSecretIdentifier, SecretClient

from vault import Token, equal, fresh, refused


def day(n):
    return datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=n)


def test_the_challenge_leads_to_this_vaults_own_scope_and_tenant(vault):
    asked = Token(vault.credential.value)
    # The packages remember challenges for each host and process.
    client = vault.client(SecretClient, asked)
    refused(404, "SecretNotFound", client.get_secret, fresh("none"))
    scopes, tenant = asked.asked[0]
    assert scopes[0].startswith("https://vault.localhost"), scopes
    assert scopes[0].endswith("/.default"), scopes
    equal(tenant, vault.tenant)


def test_a_wrong_token_is_refused(vault):
    client = vault.client(SecretClient, Token("A" * 43))
    try:
        client.get_secret("any")
    except ClientAuthenticationError as error:
        equal(error.status_code, 401)
    else:
        raise AssertionError("it was let in")


def test_a_vault_by_an_address_outside_its_domain_is_not_believed(vault):
    bare = vault.url.replace("default.vault.localhost", "localhost")
    try:
        vault.client(SecretClient, Token(vault.credential.value), url=bare).get_secret("any")
    except ValueError as error:
        assert "does not match the requested domain" in str(error), error
    else:
        raise AssertionError("the check of the challenge is off")


def test_set_and_get(vault):
    name = fresh("plain")
    made = vault.secrets.set_secret(name, "größer ☃")
    read = vault.secrets.get_secret(name)
    equal(read.value, "größer ☃")
    equal(read.id, f"{vault.url}/secrets/{name}/{made.properties.version}")
    equal(KeyVaultSecretIdentifier(read.id).version, made.properties.version)
    equal(read.properties.enabled, True)
    equal(read.properties.recovery_level, "Recoverable+Purgeable")
    equal(read.properties.recoverable_days, 90)


def test_content_type_tags_and_dates(vault):
    name = fresh("full")
    dates = {"not_before": day(-1), "expires_on": day(30000)}
    made = vault.secrets.set_secret(name, "v", content_type="text/plain", tags={"a": "ä"}, **dates)
    read = vault.secrets.get_secret(name, made.properties.version).properties
    equal((read.content_type, read.tags, read.not_before, read.expires_on),
          ("text/plain", {"a": "ä"}, dates["not_before"], dates["expires_on"]))
    changed = vault.secrets.update_secret_properties(name, content_type="x", enabled=False)
    equal((changed.content_type, changed.enabled, changed.tags), ("x", False, {"a": "ä"}))
    refused(403, "Forbidden", vault.secrets.get_secret, name)


def test_versions_and_lists_over_pages(vault):
    name = fresh("versions")
    made = [vault.secrets.set_secret(name, str(i)).properties.version for i in range(27)]
    listed = [p.version for p in vault.secrets.list_properties_of_secret_versions(name)]
    equal(sorted(listed), sorted(made))
    names = [fresh("list") for _ in range(27)]
    for one in names:
        vault.secrets.set_secret(one, "v")
    found = [p.name for p in vault.secrets.list_properties_of_secrets()]
    equal([one for one in names if found.count(one) != 1], [])
    page = next(vault.secrets.list_properties_of_secrets(max_page_size=3).by_page())
    equal(len(list(page)), 3)


def test_delete_recover_and_purge(vault):
    name = fresh("gone")
    vault.secrets.set_secret(name, "v")
    deleted = vault.secrets.begin_delete_secret(name, _polling_interval=0.05).result()
    equal(deleted.recovery_id, f"{vault.url}/deletedsecrets/{name}")
    equal(deleted.scheduled_purge_date - deleted.deleted_date, timedelta(days=90))
    refused(404, "SecretNotFound", vault.secrets.get_secret, name)
    refused(409, "Conflict", vault.secrets.set_secret, name, "v")
    assert name in [one.name for one in vault.secrets.list_deleted_secrets()]
    vault.secrets.begin_recover_deleted_secret(name, _polling_interval=0.05).wait()
    equal(vault.secrets.get_secret(name).value, "v")
    poller = vault.secrets.begin_delete_secret(name, _polling_interval=0.05)
    poller.wait()
    vault.secrets.purge_deleted_secret(name)
    refused(404, "SecretNotFound", vault.secrets.get_deleted_secret, name)


def test_backup_and_restore(vault):
    name = fresh("backup")
    vault.secrets.set_secret(name, "old", tags={"a": "b"})
    vault.secrets.set_secret(name, "new")
    blob = vault.secrets.backup_secret(name)
    refused(409, "Conflict", vault.secrets.restore_secret_backup, blob)
    vault.secrets.begin_delete_secret(name, _polling_interval=0.05).wait()
    vault.secrets.purge_deleted_secret(name)
    equal(vault.secrets.restore_secret_backup(blob).name, name)
    equal(vault.secrets.get_secret(name).value, "new")
    equal(len(list(vault.secrets.list_properties_of_secret_versions(name))), 2)
    refused(400, "BadParameter", vault.secrets.restore_secret_backup, blob[:-9])


def test_the_size_limit(vault):
    name = fresh("size")
    equal(len(vault.secrets.set_secret(name, "x" * 25600).value), 25600)
    refused(400, "BadParameter", vault.secrets.set_secret, name, "x" * 25601)


def test_versions_of_the_api(vault):
    for version in (ApiVersion.V7_0, ApiVersion.V7_1, ApiVersion.V7_2, ApiVersion.V7_3):
        client = vault.client(SecretClient, api_version=version)
        name = fresh("api")
        client.set_secret(name, "v", tags={"a": "b"})
        equal(client.get_secret(name).value, "v", version)
        client.begin_delete_secret(name, _polling_interval=0.05).wait()
        client.purge_deleted_secret(name)
