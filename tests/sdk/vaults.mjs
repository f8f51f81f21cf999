// Several vaults of one installation: nothing in common but the machine.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { all, credential, fresh, refused, url } from "./vault.mjs";

const day = 86400e3;
const token = (await credential.getToken("", {})).token;
// Vault names have at most 24 characters.
const named = (prefix) => fresh(prefix).slice(0, 24);
const names = { second: named("second"), guarded: named("guarded"), short: named("short") };
const urlOf = (name) => url.replace("//default.", `//${name}.`);

async function manage(method, path, body) {
  const reply = await fetch(`${url}/keyvault/v1${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await reply.text();
  return { status: reply.status, body: text && JSON.parse(text) };
}

before(async () => {
  const wishes = {
    second: {},
    guarded: { enablePurgeProtection: true, softDeleteRetentionInDays: 7 },
    short: { softDeleteRetentionInDays: 30 },
  };
  for (const [key, wish] of Object.entries(wishes)) {
    const made = await manage("PUT", `/vaults/${names[key]}`, wish);
    assert.equal(made.status, 200, JSON.stringify(made.body));
    assert.equal(made.body.url, urlOf(names[key]));
  }
});

after(async () => {
  for (const name of Object.values(names)) await manage("DELETE", `/vaults/${name}`);
  for (const name of [names.second, names.short])
    assert.equal((await manage("DELETE", `/deletedvaults/${name}`)).status, 204);
});

const client = (Client, name) => new Client(name ? urlOf(name) : url, credential);

test("vaults: the same name in two is two secrets", async () => {
  const [one, two] = [client(SecretClient), client(SecretClient, names.second)];
  const name = fresh("secret");
  await one.setSecret(name, "one");
  await two.setSecret(name, "two");
  assert.equal((await one.getSecret(name)).value, "one");
  const read = await two.getSecret(name);
  assert.equal(read.value, "two");
  assert.equal(read.properties.vaultUrl, urlOf(names.second));
  assert.ok(read.properties.id.startsWith(`${urlOf(names.second)}/secrets/${name}/`));
  await (await two.beginDeleteSecret(name)).pollUntilDone();
  assert.equal((await one.getSecret(name)).value, "one");
  await refused(two.getSecret(name), 404, "SecretNotFound");
});

test("vaults: lists show what is in the vault", async () => {
  const two = client(SecretClient, names.second);
  const name = fresh("secret");
  await two.setSecret(name, "v");
  const inTwo = (await all(two.listPropertiesOfSecrets())).map((p) => p.name);
  assert.ok(inTwo.includes(name));
  const inOne = (await all(client(SecretClient).listPropertiesOfSecrets())).map((p) => p.name);
  assert.ok(!inOne.includes(name));
});

test("vaults: a key signs by the id of its vault only", async () => {
  const name = fresh("key");
  const key = await client(KeyClient, names.second).createEcKey(name);
  const digest = Buffer.alloc(32, 7);
  const signed = await new CryptographyClient(key.id, credential).sign("ES256", digest);
  assert.equal(signed.result.length, 64);
  const elsewhere = key.id.replace(`//${names.second}.`, "//default.");
  await refused(new CryptographyClient(elsewhere, credential).sign("ES256", digest), 404, "KeyNotFound");
});

test("vaults: certificates in a second one", async () => {
  const name = fresh("cert");
  const certificates = client(CertificateClient, names.second);
  const create = await certificates.beginCreateCertificate(name, {
    issuerName: "Self",
    subject: `CN=${name}`,
  });
  const made = await create.pollUntilDone();
  assert.ok(made.keyId.startsWith(`${urlOf(names.second)}/keys/${name}/`));
  await refused(client(CertificateClient).getCertificate(name), 404, "CertificateNotFound");
});

const levels = [
  ["second", "Recoverable+Purgeable", 90],
  ["short", "CustomizedRecoverable+Purgeable", 30],
  ["guarded", "CustomizedRecoverable", 7],
];
for (const [key, level, days] of levels) {
  test(`vaults: what is deleted in one is kept for ${days} days, ${level}`, async () => {
    const name = fresh("x");
    const [keys, secrets] = [client(KeyClient, names[key]), client(SecretClient, names[key])];
    const made = [await keys.createEcKey(name), await secrets.setSecret(name, "v")];
    for (const { properties } of made) {
      assert.equal(properties.recoveryLevel, level);
      assert.equal(properties.recoverableDays, days);
    }
    const deleted = [
      await (await keys.beginDeleteKey(name)).pollUntilDone(),
      await (await secrets.beginDeleteSecret(name)).pollUntilDone(),
    ];
    for (const { properties } of deleted) {
      assert.equal(properties.scheduledPurgeDate - properties.deletedOn, days * day);
      assert.equal(properties.recoveryLevel, level);
    }
  });
}

test("vaults: purge protection refuses to purge", async () => {
  const name = fresh("secret");
  const secrets = client(SecretClient, names.guarded);
  await secrets.setSecret(name, "v");
  await (await secrets.beginDeleteSecret(name)).pollUntilDone();
  await refused(secrets.purgeDeletedSecret(name), 403, "Forbidden", /purge protection/);
  await (await secrets.beginRecoverDeletedSecret(name)).pollUntilDone();
  assert.equal((await secrets.getSecret(name)).value, "v");
  const keys = client(KeyClient, names.guarded);
  await keys.createEcKey(name);
  await (await keys.beginDeleteKey(name)).pollUntilDone();
  await refused(keys.purgeDeletedKey(name), 403, "Forbidden", /purge protection/);
});

test("vaults: a deleted one answers to nobody and comes back whole", async () => {
  const vault = named("gone");
  assert.equal((await manage("PUT", `/vaults/${vault}`, {})).status, 200);
  const secrets = client(SecretClient, vault);
  await secrets.setSecret("s", "v");
  assert.equal((await manage("DELETE", `/vaults/${vault}`)).status, 200);
  await refused(secrets.getSecret("s"), 404, "VaultNotFound");
  assert.equal((await manage("PUT", `/vaults/${vault}`, {})).body.error.code, "ConflictError");
  assert.equal((await manage("POST", `/deletedvaults/${vault}/recover`)).status, 200);
  assert.equal((await secrets.getSecret("s")).value, "v");
  assert.equal((await manage("DELETE", `/vaults/${vault}`)).status, 200);
  assert.equal((await manage("DELETE", `/deletedvaults/${vault}`)).status, 204);
  await refused(secrets.getSecret("s"), 404, "VaultNotFound");
});

test("vaults: hardware keys want a vault with hardware", async () => {
  const keys = client(KeyClient, names.second);
  await refused(keys.createRsaKey(fresh("key"), { hsm: true }), 400, "BadParameter", /premium/);
  await refused(keys.createEcKey(fresh("key"), { hsm: true }), 400, "BadParameter", /premium/);
});
