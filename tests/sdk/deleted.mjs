// Soft delete through the three clients, as their pollers do it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { all, credential, fresh, refused, url } from "./vault.mjs";

const keys = new KeyClient(url, credential);
const secrets = new SecretClient(url, credential);
const certificates = new CertificateClient(url, credential);
const day = 86400e3;

function dates(deleted, collection, name) {
  assert.ok(deleted.deletedOn instanceof Date);
  assert.equal(deleted.scheduledPurgeDate - deleted.deletedOn, 90 * day);
  assert.equal(deleted.recoveryId, `${url}/deleted${collection}/${name}`);
}

test("deleted: a key, recovered and purged", async () => {
  const name = fresh("key");
  const made = await keys.createEcKey(name);
  const poller = await keys.beginDeleteKey(name);
  const deleted = await poller.pollUntilDone();
  dates(deleted.properties, "keys", name);
  assert.equal(deleted.id, made.id);
  await refused(keys.getKey(name), 404, "KeyNotFound");
  await refused(keys.createEcKey(name), 409, "Conflict", /recoverable/);
  assert.deepEqual((await keys.getDeletedKey(name)).properties, deleted.properties);
  const recovered = await (await keys.beginRecoverDeletedKey(name)).pollUntilDone();
  assert.equal(recovered.id, made.id);
  assert.equal((await keys.getKey(name)).id, made.id);
  await (await keys.beginDeleteKey(name)).pollUntilDone();
  await keys.purgeDeletedKey(name);
  await refused(keys.getDeletedKey(name), 404, "KeyNotFound");
  assert.notEqual((await keys.createEcKey(name)).id, made.id);
});

test("deleted: a secret with its versions", async () => {
  const name = fresh("secret");
  for (const value of ["one", "two"]) await secrets.setSecret(name, value);
  const deleted = await (await secrets.beginDeleteSecret(name)).pollUntilDone();
  dates(deleted.properties, "secrets", name);
  assert.equal(deleted.value, undefined);
  await refused(secrets.getSecret(name), 404, "SecretNotFound");
  assert.deepEqual(await all(secrets.listPropertiesOfSecretVersions(name)), []);
  await (await secrets.beginRecoverDeletedSecret(name)).pollUntilDone();
  assert.equal((await secrets.getSecret(name)).value, "two");
  assert.equal((await all(secrets.listPropertiesOfSecretVersions(name))).length, 2);
});

test("deleted: a certificate with its key and secret", async () => {
  const name = fresh("cert");
  const policy = { issuerName: "Self", subject: `CN=${name}` };
  const create = await certificates.beginCreateCertificate(name, policy);
  const made = await create.pollUntilDone();
  const deleted = await (await certificates.beginDeleteCertificate(name)).pollUntilDone();
  dates(deleted, "certificates", name);
  assert.equal(deleted.keyId, made.keyId);
  await refused(keys.getKey(name), 404, "KeyNotFound");
  await refused(secrets.getSecret(name), 404, "SecretNotFound");
  await refused(certificates.getCertificate(name), 404, "CertificateNotFound");
  await refused(keys.purgeDeletedKey(name), 403, "Forbidden", /certificate/);
  const back = await (await certificates.beginRecoverDeletedCertificate(name)).pollUntilDone();
  assert.deepEqual(back.cer, made.cer);
  assert.equal((await keys.getKey(name)).id, made.keyId);
  await (await certificates.beginDeleteCertificate(name)).pollUntilDone();
  await certificates.purgeDeletedCertificate(name);
  await refused(certificates.getDeletedCertificate(name), 404, "CertificateNotFound");
  await refused(keys.getDeletedKey(name), 404, "KeyNotFound");
});

test("deleted: lists have what is deleted and nothing else", async () => {
  const gone = [fresh("gone"), fresh("gone"), fresh("gone")];
  const stays = fresh("stays");
  for (const name of [...gone, stays]) await secrets.setSecret(name, "v", { tags: { name } });
  for (const name of gone) await secrets.beginDeleteSecret(name);
  const listed = await all(secrets.listDeletedSecrets());
  const mine = listed.filter((item) => [...gone, stays].includes(item.name));
  assert.deepEqual(mine.map((item) => item.name).sort(), [...gone].sort());
  for (const item of mine) {
    dates(item.properties, "secrets", item.name);
    assert.equal(item.properties.tags.name, item.name);
  }
});

test("deleted: keys and certificates are listed and read until they are purged", async () => {
  const [key, certificate] = [fresh("gone"), fresh("gone")];
  await keys.createEcKey(key);
  const policy = { issuerName: "Self", subject: `CN=${certificate}` };
  await (await certificates.beginCreateCertificate(certificate, policy)).pollUntilDone();
  await (await keys.beginDeleteKey(key)).pollUntilDone();
  await (await certificates.beginDeleteCertificate(certificate)).pollUntilDone();
  const find = (items, name) => items.find((item) => item.name === name);
  dates(find(await all(keys.listDeletedKeys()), key).properties, "keys", key);
  const listed = await all(certificates.listDeletedCertificates());
  dates(find(listed, certificate), "certificates", certificate);
  dates(await certificates.getDeletedCertificate(certificate), "certificates", certificate);
  await keys.purgeDeletedKey(key);
  await certificates.purgeDeletedCertificate(certificate);
  assert.equal(find(await all(keys.listDeletedKeys()), key), undefined);
  assert.equal(find(await all(certificates.listDeletedCertificates()), certificate), undefined);
});

test("deleted: a secret is purged for good", async () => {
  const name = fresh("secret");
  const first = await secrets.setSecret(name, "v");
  await (await secrets.beginDeleteSecret(name)).pollUntilDone();
  await secrets.purgeDeletedSecret(name);
  await refused(secrets.getDeletedSecret(name), 404, "SecretNotFound");
  assert.notEqual((await secrets.setSecret(name, "w")).properties.id, first.properties.id);
});

test("deleted: what is not deleted is not found there", async () => {
  const name = fresh("live");
  await secrets.setSecret(name, "v");
  await refused(secrets.getDeletedSecret(name), 404, "SecretNotFound");
  await refused(secrets.purgeDeletedSecret(name), 404, "SecretNotFound");
  await refused(keys.beginDeleteKey(name), 404, "KeyNotFound");
});
