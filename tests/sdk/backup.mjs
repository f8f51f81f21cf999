// Backup blobs through the three clients: what comes back after a purge, and what is
// refused.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { createHash, randomBytes } from "node:crypto";
import { all, credential, fresh, refused, url } from "./vault.mjs";

const keys = new KeyClient(url, credential);
const secrets = new SecretClient(url, credential);
const certificates = new CertificateClient(url, credential);
const digest = createHash("sha256").update("text").digest();

async function dropKey(name) {
  await (await keys.beginDeleteKey(name)).pollUntilDone();
  await keys.purgeDeletedKey(name);
}
async function dropSecret(name) {
  await (await secrets.beginDeleteSecret(name)).pollUntilDone();
  await secrets.purgeDeletedSecret(name);
}
async function dropCertificate(name) {
  await (await certificates.beginDeleteCertificate(name)).pollUntilDone();
  await certificates.purgeDeletedCertificate(name);
}

test("backup: an EC key signs after delete, purge and restore", async () => {
  const name = fresh("key");
  const made = await keys.createEcKey(name, { tags: { a: "b" } });
  const signature = (await new CryptographyClient(made, credential).sign("ES256", digest)).result;
  const blob = await keys.backupKey(name);
  assert.ok(blob instanceof Uint8Array && blob.length > 100);
  await dropKey(name);
  await refused(keys.getKey(name), 404, "KeyNotFound");
  const back = await keys.restoreKeyBackup(blob);
  assert.equal(back.id, made.id);
  assert.deepEqual(back.key, made.key);
  assert.deepEqual(back.properties.tags, { a: "b" });
  const crypto = new CryptographyClient(back, credential);
  assert.ok((await crypto.verify("ES256", digest, signature)).result);
  const again = (await crypto.sign("ES256", digest)).result;
  assert.ok((await crypto.verify("ES256", digest, again)).result);
});

test("backup: an RSA key with its versions decrypts after restore", async () => {
  const name = fresh("key");
  const first = await keys.createRsaKey(name);
  const second = await keys.createRsaKey(name);
  const plain = randomBytes(32);
  const sealed = await new CryptographyClient(first, credential).encrypt("RSA-OAEP-256", plain);
  const blob = await keys.backupKey(name);
  await dropKey(name);
  assert.equal((await keys.restoreKeyBackup(blob)).id, second.id);
  const versions = await all(keys.listPropertiesOfKeyVersions(name));
  assert.deepEqual(
    versions.map((item) => item.version).sort(),
    [first.properties.version, second.properties.version].sort(),
  );
  const opened = await new CryptographyClient(first.id, credential).decrypt(
    "RSA-OAEP-256",
    sealed.result,
  );
  assert.deepEqual(Buffer.from(opened.result), plain);
});

test("backup: a key that was changed later comes back as it was", async () => {
  const name = fresh("key");
  const made = await keys.createEcKey(name);
  const blob = await keys.backupKey(name);
  await keys.updateKeyProperties(name, made.properties.version, { enabled: false });
  await keys.updateKeyProperties(name, made.properties.version, { enabled: true, tags: { x: "y" } });
  await new CryptographyClient(made, credential).sign("ES256", digest);
  await dropKey(name);
  const back = await keys.restoreKeyBackup(blob);
  assert.equal(back.properties.enabled, true);
  assert.equal(back.properties.tags, undefined);
  const { result } = await new CryptographyClient(back, credential).sign("ES256", digest);
  assert.equal(result.length, 64);
});

test("backup: a secret with its versions", async () => {
  const name = fresh("secret");
  const first = await secrets.setSecret(name, "one", { contentType: "t", tags: { n: "1" } });
  const second = await secrets.setSecret(name, "two", { enabled: true });
  const blob = await secrets.backupSecret(name);
  await dropSecret(name);
  const back = await secrets.restoreSecretBackup(blob);
  assert.equal(back.id, second.properties.id);
  assert.equal(back.value, undefined);
  assert.equal((await secrets.getSecret(name)).value, "two");
  const old = await secrets.getSecret(name, { version: first.properties.version });
  assert.equal(old.value, "one");
  assert.equal(old.properties.contentType, "t");
  assert.deepEqual(old.properties.tags, { n: "1" });
});

test("backup: a secret of the greatest length", async () => {
  const name = fresh("secret");
  const value = "x".repeat(25600);
  for (let i = 0; i < 20; i++) await secrets.setSecret(name, value);
  const blob = await secrets.backupSecret(name);
  assert.ok(blob.length > 20 * 25600);
  await dropSecret(name);
  await secrets.restoreSecretBackup(blob);
  assert.equal((await secrets.getSecret(name)).value, value);
  assert.equal((await all(secrets.listPropertiesOfSecretVersions(name))).length, 20);
});

test("backup: a certificate with key, secret and policy", async () => {
  const name = fresh("cert");
  const policy = {
    issuerName: "Self",
    subject: `CN=${name}`,
    subjectAlternativeNames: { dnsNames: ["a.example"] },
    exportable: true,
  };
  const made = await (await certificates.beginCreateCertificate(name, policy)).pollUntilDone();
  const value = (await secrets.getSecret(name)).value;
  const before = await certificates.getCertificatePolicy(name);
  const blob = await certificates.backupCertificate(name);
  await dropCertificate(name);
  await refused(keys.getKey(name), 404, "KeyNotFound");
  const back = await certificates.restoreCertificateBackup(blob);
  assert.equal(back.id, made.id);
  assert.equal(back.keyId, made.keyId);
  assert.equal(back.secretId, made.secretId);
  assert.deepEqual(back.cer, made.cer);
  assert.deepEqual(await certificates.getCertificatePolicy(name), before);
  assert.equal((await secrets.getSecret(name)).properties.certificateKeyId, made.keyId);
  assert.ok((await secrets.getSecret(name)).value.length > value.length / 2);
  const key = await keys.getKey(name);
  assert.equal(key.id, made.keyId);
  const { result } = await new CryptographyClient(key, credential).sign("RS256", digest);
  assert.equal(result.length, 256);
});

test("backup: what belongs to a certificate goes with it", async () => {
  const name = fresh("cert");
  const policy = { issuerName: "Self", subject: `CN=${name}` };
  await (await certificates.beginCreateCertificate(name, policy)).pollUntilDone();
  await refused(keys.backupKey(name), 403, "Forbidden", /certificate/);
  await refused(secrets.backupSecret(name), 403, "Forbidden", /certificate/);
});

test("backup: nothing is restored over a name", async () => {
  const name = fresh("secret");
  await secrets.setSecret(name, "one");
  const blob = await secrets.backupSecret(name);
  await secrets.setSecret(name, "two");
  await refused(secrets.restoreSecretBackup(blob), 409, "Conflict");
  await (await secrets.beginDeleteSecret(name)).pollUntilDone();
  await refused(secrets.restoreSecretBackup(blob), 409, "Conflict", /recover/);
  await secrets.purgeDeletedSecret(name);
  await secrets.restoreSecretBackup(blob);
  assert.equal((await secrets.getSecret(name)).value, "one");
  const key = fresh("key");
  await keys.createEcKey(key);
  await refused(keys.restoreKeyBackup(await keys.backupKey(key)), 409, "Conflict");
});

test("backup: a blob that is not as it was is refused", async () => {
  const name = fresh("key");
  await keys.createEcKey(name);
  const blob = await keys.backupKey(name);
  await dropKey(name);
  const messages = new Set();
  const bad = async (bytes, restore = (b) => keys.restoreKeyBackup(b)) => {
    await assert.rejects(restore(bytes), (error) => {
      assert.equal(error.statusCode, 400);
      assert.equal(error.code, "BadParameter");
      messages.add(error.message);
      return true;
    });
  };
  for (const at of [0, 3, 20, 60, Math.trunc(blob.length / 2), blob.length - 1]) {
    const changed = Uint8Array.from(blob);
    changed[at] ^= 1;
    await bad(changed);
  }
  await bad(blob.slice(0, blob.length - 1));
  await bad(Uint8Array.from([...blob, 0]));
  await bad(randomBytes(500));
  await bad(blob, (b) => secrets.restoreSecretBackup(b));
  await bad(blob, (b) => certificates.restoreCertificateBackup(b));
  assert.equal(messages.size, 1, [...messages].join());
  await refused(keys.getKey(name), 404, "KeyNotFound");
  await keys.restoreKeyBackup(blob);
});

test("backup: what is not there has none", async () => {
  const name = fresh("none");
  await refused(keys.backupKey(name), 404, "KeyNotFound");
  await refused(secrets.backupSecret(name), 404, "SecretNotFound");
  await refused(certificates.backupCertificate(name), 404, "CertificateNotFound");
});
