// Many objects and many callers: pages, versions, the same name from several sides.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { all, credential, fresh, refused, url } from "./vault.mjs";

const keys = new KeyClient(url, credential);
const secrets = new SecretClient(url, credential);
const certificates = new CertificateClient(url, credential);
// The first request of a client must not run beside others: the SDK loses bodies then.
await Promise.all([keys, secrets].map((client) => all((client === keys
  ? client.listPropertiesOfKeys() : client.listPropertiesOfSecrets()))));

// These answers and no others, whoever was first.
async function settle(promises, allowed) {
  const done = await Promise.allSettled(promises);
  for (const one of done) {
    if (one.status === "fulfilled") continue;
    assert.ok(allowed.includes(one.reason.statusCode), `${one.reason.statusCode}: ${one.reason.message}`);
  }
  return done.filter((one) => one.status === "fulfilled").map((one) => one.value);
}

for (const size of [1, 10, 24, 25]) {
  test(`many: pages of ${size} hold each of 60 secrets once`, async () => {
    const prefix = fresh("paged");
    const names = Array.from({ length: 60 }, (_, i) => `${prefix}-${i}`);
    await Promise.all(names.map((name) => secrets.setSecret(name, "v")));
    const found = [];
    for await (const page of secrets.listPropertiesOfSecrets().byPage({ maxPageSize: size })) {
      assert.ok(page.length <= size);
      found.push(...page.map((item) => item.name));
    }
    assert.deepEqual(found.filter((name) => name.startsWith(prefix)).sort(), names.sort());
    assert.equal(new Set(found).size, found.length, "none comes twice");
  });
}

test("many: a page larger than the contract's limit is refused", async () => {
  const pages = secrets.listPropertiesOfSecrets().byPage({ maxPageSize: 26 });
  await refused(pages.next(), 400, "BadParameter");
});

test("many: thirty versions come over pages, each once", async () => {
  const name = fresh("versions");
  const made = [];
  for (let i = 0; i < 30; i++) made.push((await secrets.setSecret(name, `${i}`)).properties.version);
  const listed = (await all(secrets.listPropertiesOfSecretVersions(name))).map((p) => p.version);
  assert.deepEqual([...listed].sort(), [...made].sort());
  assert.equal((await secrets.getSecret(name)).value, "29");
});

test("many: a list that others write to repeats nothing and loses nothing that stays", async () => {
  const prefix = fresh("busy");
  const stays = Array.from({ length: 40 }, (_, i) => `${prefix}-s${i}`);
  await Promise.all(stays.map((name) => secrets.setSecret(name, "v")));
  const found = [];
  let n = 0;
  for await (const page of secrets.listPropertiesOfSecrets().byPage({ maxPageSize: 5 })) {
    found.push(...page.map((item) => item.name));
    await secrets.setSecret(`${prefix}-a${n++}`, "new");
  }
  assert.equal(new Set(found).size, found.length, "none comes twice");
  for (const name of stays) assert.ok(found.includes(name), name);
});

test("many: deleted keys over pages", async () => {
  const prefix = fresh("gone");
  const names = Array.from({ length: 28 }, (_, i) => `${prefix}-${i}`);
  for (const name of names) {
    await keys.createEcKey(name);
    await keys.client.deleteKey(name);
  }
  const listed = (await all(keys.listDeletedKeys())).filter((key) => key.name.startsWith(prefix));
  assert.deepEqual(listed.map((key) => key.name).sort(), names.sort());
  for (const key of listed) assert.ok(key.properties.scheduledPurgeDate > key.properties.deletedOn);
});

test("many: writers of one secret each make a version, and one of them is current", async () => {
  const name = fresh("writers");
  const made = await settle(Array.from({ length: 20 }, (_, i) => secrets.setSecret(name, `${i}`)), []);
  assert.equal(made.length, 20);
  assert.equal(new Set(made.map((one) => one.properties.version)).size, 20);
  const current = await secrets.getSecret(name);
  assert.ok(made.some((one) => one.properties.version === current.properties.version
    && one.value === current.value));
  for (const one of made) {
    assert.equal((await secrets.getSecret(name, { version: one.properties.version })).value, one.value);
  }
});

test("many: makers of one key each get a key of their own", async () => {
  const name = fresh("makers");
  const made = await settle(Array.from({ length: 10 }, () => keys.createEcKey(name)), []);
  assert.equal(new Set(made.map((key) => Buffer.from(key.key.x).toString("hex"))).size, 10);
  assert.equal((await all(keys.listPropertiesOfKeyVersions(name))).length, 10);
});

test("many: create, delete and recover of one name race without a fault", async () => {
  const name = fresh("race");
  await secrets.setSecret(name, "first");
  for (let round = 0; round < 5; round++) {
    await settle([
      secrets.client.deleteSecret(name), secrets.setSecret(name, `round ${round}`),
      secrets.client.recoverDeletedSecret(name), secrets.client.deleteSecret(name),
      secrets.getSecret(name), secrets.client.recoverDeletedSecret(name),
    ], [404, 409]);
  }
  // Whatever came last: the name is live or deleted, never both, never neither.
  const live = await secrets.getSecret(name).then(() => true, (error) => {
    assert.equal(error.statusCode, 404);
    return false;
  });
  const deleted = await secrets.getDeletedSecret(name).then(() => true, () => false);
  assert.notEqual(live, deleted);
  if (deleted) await secrets.client.recoverDeletedSecret(name);
  assert.match((await secrets.getSecret(name)).value, /^(first|round \d)$/);
});

test("many: purge and recover of one name: one of them wins", async () => {
  for (let round = 0; round < 5; round++) {
    const name = fresh("either");
    await keys.createEcKey(name);
    await keys.client.deleteKey(name);
    await settle([keys.purgeDeletedKey(name), keys.client.recoverDeletedKey(name)], [404, 409]);
    const live = await keys.getKey(name).then(() => true, () => false);
    const deleted = await keys.getDeletedKey(name).then(() => true, () => false);
    assert.equal(deleted, false, "nothing stays half way");
    if (live) assert.ok(await new CryptographyClient(`${url}/keys/${name}`, credential)
      .sign("ES256", Buffer.alloc(32, 1)));
  }
});

test("many: two orders of one certificate: one is taken, the other told to wait", async () => {
  const name = fresh("orders");
  const policy = { issuerName: "Unknown", subject: "CN=a" };
  await all(certificates.listPropertiesOfCertificates());
  const order = () => certificates.client.createCertificate(name, {
    certificatePolicy: { issuerParameters: { name: policy.issuerName }, x509CertificateProperties: { subject: "CN=a" } },
  });
  const done = await Promise.allSettled([order(), order(), order()]);
  const lost = done.filter((one) => one.status === "rejected");
  assert.equal(lost.length, 2);
  for (const one of lost) {
    assert.equal(one.reason.statusCode, 409);
    assert.equal(one.reason.code, "Forbidden");
  }
});

test("many: changes of one version beside each other all count", async () => {
  const name = fresh("changes");
  const { properties } = await secrets.setSecret(name, "v");
  const changes = Array.from({ length: 8 }, (_, i) => secrets.updateSecretProperties(
    name, properties.version, { tags: { writer: `${i}` } }));
  const done = await settle(changes, [409]);
  assert.ok(done.length > 0);
  const read = await secrets.getSecret(name);
  assert.match(read.properties.tags.writer, /^[0-7]$/);
  assert.equal(read.value, "v");
});

test("many: a key is disabled while others sign: they stop, and go on when it is enabled", async () => {
  const key = await keys.createEcKey(fresh("switch"));
  const crypto = new CryptographyClient(key.id, credential);
  const sign = () => crypto.sign("ES256", Buffer.alloc(32, 7));
  await sign();
  const off = keys.updateKeyProperties(key.name, key.properties.version, { enabled: false });
  await settle([off, ...Array.from({ length: 10 }, sign)], [403]);
  await refused(sign(), 403, "Forbidden", /disabled/);
  await keys.updateKeyProperties(key.name, key.properties.version, { enabled: true });
  assert.equal((await sign()).result.length, 64);
});
