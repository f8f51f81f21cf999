// The limits of names, values, tags and attributes, from both sides.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { all, credential, fresh, inDays, refused, seconds, url } from "./vault.mjs";

const keys = new KeyClient(url, credential);
const secrets = new SecretClient(url, credential);
const certificates = new CertificateClient(url, credential);

test("limits: a secret of 25,600 bytes, and not one more", async () => {
  const name = fresh("size");
  const value = "s".repeat(25600);
  assert.equal((await secrets.setSecret(name, value)).value.length, 25600);
  await refused(secrets.setSecret(name, `${value}s`), 400, "BadParameter", /25600|25,600/);
  assert.equal((await secrets.getSecret(name)).value, value);
});

test("limits: bytes count, not characters", async () => {
  const name = fresh("bytes");
  await secrets.setSecret(name, "ü".repeat(12800));
  await refused(secrets.setSecret(name, `${"ü".repeat(12800)}a`), 400, "BadParameter");
  assert.equal((await secrets.getSecret(name)).value, "ü".repeat(12800));
});

test("limits: a content type of 255 characters, and not one more", async () => {
  const name = fresh("type");
  const made = await secrets.setSecret(name, "v", { contentType: "ü".repeat(255) });
  assert.equal(made.properties.contentType.length, 255);
  await refused(secrets.setSecret(name, "v", { contentType: "x".repeat(256) }), 400, "BadParameter");
});

test("limits: fifteen tags, and not one more", async () => {
  const tags = (n) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`tag ${i}`, `${i}`]));
  const name = fresh("tags");
  const made = await secrets.setSecret(name, "v", { tags: tags(15) });
  assert.equal(Object.keys(made.properties.tags).length, 15);
  await refused(secrets.setSecret(name, "v", { tags: tags(16) }), 400, "BadParameter", /tags/);
  await refused(secrets.updateSecretProperties(name, made.properties.version, { tags: tags(16) }),
    400, "BadParameter", /tags/);
});

test("limits: tags of 256 characters", async () => {
  const tags = { ["n".repeat(256)]: "ö".repeat(256) };
  const made = await keys.createEcKey(fresh("tags"), { tags });
  assert.deepEqual({ ...(await keys.getKey(made.name)).properties.tags }, tags);
});

test("limits: an empty map of tags removes them, no map leaves them", async () => {
  const name = fresh("tags");
  const { properties } = await secrets.setSecret(name, "v", { tags: { a: "1", b: "2" } });
  await secrets.updateSecretProperties(name, properties.version, { enabled: true });
  assert.deepEqual({ ...(await secrets.getSecret(name)).properties.tags }, { a: "1", b: "2" });
  await secrets.updateSecretProperties(name, properties.version, { tags: {} });
  assert.deepEqual({ ...((await secrets.getSecret(name)).properties.tags ?? {}) }, {});
});

for (const [label, name] of [["of one character", "a"], ["of 127 characters", "n".repeat(127)],
  ["of digits", "0123456789"], ["that begins with a hyphen", "-a-"],
  ["that is a word of the API", "versions"], ["that looks like a version", "0".repeat(32)]]) {
  test(`limits: a name ${label}`, async () => {
    await secrets.setSecret(name, "v");
    const read = await secrets.getSecret(name);
    assert.equal(read.value, "v");
    assert.equal(read.name, name);
    assert.equal((await all(secrets.listPropertiesOfSecretVersions(name))).length, 1);
  });
}

for (const name of ["a".repeat(128), "under_score", "dot.dot", "sp ace", "ümlaut", "a/b", "%", "a?b", "a#b"]) {
  test(`limits: the name "${name.slice(0, 12)}" is refused`, async () => {
    const error = await secrets.setSecret(name, "v").then(() => null, (reason) => reason);
    assert.ok(error, "it was taken");
    assert.ok([400, 404, 405].includes(error.statusCode), `${error.statusCode}: ${error.message}`);
    assert.ok(error.code, "the reply has a code");
  });
}

test("limits: a name keeps its first spelling and is found by any", async () => {
  const name = fresh("MixedCase");
  const first = await secrets.setSecret(name, "one");
  const second = await secrets.setSecret(name.toLowerCase(), "two");
  assert.equal(second.name, name);
  assert.equal((await secrets.getSecret(name.toUpperCase())).value, "two");
  const listed = (await all(secrets.listPropertiesOfSecrets())).map((item) => item.name);
  assert.ok(listed.includes(name));
  assert.ok(!listed.includes(name.toLowerCase()));
  const { version } = first.properties;
  assert.equal((await secrets.getSecret(name.toUpperCase(), { version })).value, "one");
  await (await secrets.beginDeleteSecret(name.toUpperCase())).pollUntilDone();
  assert.equal((await secrets.getDeletedSecret(name.toLowerCase())).name, name);
  await secrets.purgeDeletedSecret(name.toLowerCase());
});

test("limits: exp before nbf is refused, equal ones are not", async () => {
  const at = inDays(5);
  await refused(secrets.setSecret(fresh("dates"), "v", { notBefore: inDays(6), expiresOn: at }),
    400, "BadParameter");
  const made = await secrets.setSecret(fresh("dates"), "v", { notBefore: at, expiresOn: at });
  assert.equal(seconds(made.properties.expiresOn), seconds(at));
});

test("limits: an expired secret is still read, an expired key does not sign", async () => {
  const dates = { notBefore: inDays(-9), expiresOn: inDays(-8) };
  const secret = await secrets.setSecret(fresh("old"), "v", dates);
  assert.equal((await secrets.getSecret(secret.name)).value, "v");
  const key = await keys.createEcKey(fresh("old"), dates);
  await refused(keys.client.sign(key.name, "", { algorithm: "ES256", value: Buffer.alloc(32) }),
    403, "Forbidden", /expired/);
});

test("limits: a disabled secret says so, and its properties are still listed and changed", async () => {
  const secret = await secrets.setSecret(fresh("off"), "v", { enabled: false });
  const { version } = secret.properties;
  await refused(secrets.getSecret(secret.name), 403, "Forbidden", /not allowed on a disabled secret/);
  const [listed] = await all(secrets.listPropertiesOfSecretVersions(secret.name));
  assert.equal(listed.enabled, false);
  await secrets.updateSecretProperties(secret.name, version, { enabled: true });
  assert.equal((await secrets.getSecret(secret.name)).value, "v");
});

test("limits: created and updated are told, and updated moves", async () => {
  const { name, properties } = await secrets.setSecret(fresh("times"), "v");
  assert.equal(seconds(properties.createdOn), seconds(properties.updatedOn));
  await new Promise((resolve) => { setTimeout(resolve, 1100); });
  const changed = await secrets.updateSecretProperties(name, properties.version, { tags: { a: "b" } });
  assert.equal(seconds(changed.createdOn), seconds(properties.createdOn));
  assert.ok(changed.updatedOn > properties.updatedOn);
});

test("limits: a value that is missing, null or no text is refused", async () => {
  for (const value of [undefined, null, 42, { a: 1 }, ["a"], true]) {
    await refused(secrets.setSecret(fresh("bad"), value), 400, "BadParameter", /value/);
  }
});

test("limits: sizes and curves of keys", async () => {
  for (const keySize of [1024, 2047, 2049, 8192]) {
    await refused(keys.createRsaKey(fresh("bad"), { keySize }), 400, "BadParameter", /2048/);
  }
  await refused(keys.createKey(fresh("bad"), "EC", { curve: "Ed448" }), 400, "BadParameter");
  await refused(keys.createKey(fresh("bad"), "XYZ"), 400, "BadParameter");
  await refused(keys.createKey(fresh("bad"), "oct"), 400, "BadParameter");
});

test("limits: operations that a key type cannot do are refused by name", async () => {
  await refused(keys.createEcKey(fresh("bad"), { keyOps: ["encrypt"] }), 400, "BadParameter", /sign/);
  await refused(keys.createRsaKey(fresh("bad"), { keyOps: ["fly"] }), 400, "BadParameter");
});

test("limits: names of certificates that are words of the API are refused", async () => {
  for (const name of ["contacts", "issuers"]) {
    await assert.rejects(certificates.client.createCertificate(name, {
      certificatePolicy: { issuerParameters: { name: "Self" }, x509CertificateProperties: { subject: "CN=a" } },
    }), (error) => [400, 404, 405].includes(error.statusCode));
  }
});
