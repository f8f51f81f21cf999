// SecretClient: values come back as they went in.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { parseKeyVaultSecretIdentifier, SecretClient } from "@azure/keyvault-secrets";
import {
  all, Credential, credential, fresh, inDays, isVersion, refused, seconds, url,
} from "./vault.mjs";

const client = new SecretClient(url, credential);

test("secrets: set and get", async () => {
  const name = fresh("plain");
  const set = await client.setSecret(name, "a value");
  assert.equal(set.value, "a value");
  assert.match(set.properties.version, isVersion);
  assert.equal(set.properties.id, `${url}/secrets/${name}/${set.properties.version}`);
  const read = await client.getSecret(name);
  assert.deepEqual(read, set);
  assert.equal(read.properties.enabled, true);
  assert.equal(read.properties.contentType, undefined);
  assert.equal(read.properties.recoverableDays, 90);
});

for (const [label, value] of [
  ["with umlauts, hanzi and emoji", "Schlüssel 钥匙 🔑 \u200d é e\u0301"],
  ["with quotes, backslashes and control characters", "\"\\\b\f\n\r\t\u0001\u001f</script>"],
  ["that looks like JSON", "{\"value\":null}"],
  ["that is empty", ""],
  ["of one space", " "],
  ["as long as allowed", "x".repeat(25600)],
]) {
  test(`secrets: a value ${label}`, async () => {
    const name = fresh("value");
    await client.setSecret(name, value);
    assert.equal((await client.getSecret(name)).value, value);
  });
}

test("secrets: content type, tags, dates", async () => {
  const name = fresh("full");
  const options = {
    contentType: "text/plain; charset=utf-8",
    tags: { "Größe": "groß", empty: "", path: "a/b?c=d&e" },
    notBefore: inDays(-3),
    expiresOn: inDays(30),
  };
  const set = await client.setSecret(name, "v", options);
  const read = await client.getSecret(name, { version: set.properties.version });
  assert.deepEqual(read, set);
  assert.equal(read.properties.contentType, options.contentType);
  assert.deepEqual({ ...read.properties.tags }, options.tags);
  assert.equal(seconds(read.properties.notBefore), seconds(options.notBefore));
  assert.equal(seconds(read.properties.expiresOn), seconds(options.expiresOn));
});

for (const day of ["2038-01-19T03:14:08Z", "2050-06-30T12:00:00Z", "2100-01-01T00:00:00Z"]) {
  test(`secrets: an expiry on ${day.slice(0, 10)} is that day`, async () => {
    const name = fresh("late");
    const expiresOn = new Date(day);
    const set = await client.setSecret(name, "v", { expiresOn });
    assert.equal(set.properties.expiresOn.toISOString(), expiresOn.toISOString());
    const [listed] = await all(client.listPropertiesOfSecretVersions(name));
    assert.equal(listed.expiresOn.toISOString(), expiresOn.toISOString());
  });
}

test("secrets: a new version inherits nothing, and old ones stay", async () => {
  const name = fresh("versions");
  const first = await client.setSecret(name, "one", { tags: { n: "1" }, contentType: "t" });
  const second = await client.setSecret(name, "two");
  assert.notEqual(first.properties.version, second.properties.version);
  assert.equal((await client.getSecret(name)).value, "two");
  assert.equal((await client.getSecret(name)).properties.contentType, undefined);
  const { version } = first.properties;
  assert.deepEqual(await client.getSecret(name, { version }), first);
  const listed = await all(client.listPropertiesOfSecretVersions(name));
  assert.deepEqual(listed.map((p) => p.id).sort(),
    [first.properties.id, second.properties.id].sort());
  for (const properties of listed) assert.equal("value" in properties, false);
});

test("secrets: lists are complete, paged as asked, and hold no values", async () => {
  const names = [];
  for (let i = 0; i < 27; i++) names.push(fresh("list"));
  for (const name of names) await client.setSecret(name, `value of ${name}`, { tags: { name } });
  const listed = await all(client.listPropertiesOfSecrets());
  for (const name of names) {
    const found = listed.filter((properties) => properties.name === name);
    assert.equal(found.length, 1, name);
    assert.equal(found[0].id, `${url}/secrets/${name}`);
    assert.equal(parseKeyVaultSecretIdentifier(found[0].id).version, undefined);
    assert.deepEqual({ ...found[0].tags }, { name });
  }
  assert.doesNotMatch(JSON.stringify(listed), /value of/);
  const paged = [];
  let pages = 0;
  for await (const page of client.listPropertiesOfSecrets().byPage({ maxPageSize: 7 })) {
    assert.ok(page.length <= 7, `a page of ${page.length}`);
    paged.push(...page);
    pages++;
  }
  assert.ok(pages >= 4);
  assert.deepEqual(paged.map((p) => p.id).sort(), listed.map((p) => p.id).sort());
});

test("secrets: forty versions of one secret are listed over pages", async () => {
  const name = fresh("many");
  const ids = [];
  for (let i = 0; i < 40; i++) ids.push((await client.setSecret(name, `${i}`)).properties.id);
  const listed = await all(client.listPropertiesOfSecretVersions(name));
  assert.deepEqual(listed.map((p) => p.id).sort(), ids.sort());
});

test("secrets: parallel writes of one name are versions, none is lost", async () => {
  const name = fresh("parallel");
  await client.setSecret(name, "first");
  const values = Array.from({ length: 12 }, () => randomBytes(8).toString("hex"));
  const set = await Promise.all(values.map((value) => client.setSecret(name, value)));
  const versions = new Set(set.map((secret) => secret.properties.version));
  assert.equal(versions.size, values.length);
  for (const secret of set) {
    const { version } = secret.properties;
    assert.equal((await client.getSecret(name, { version })).value, secret.value);
  }
});

test("secrets: errors have the contract's status and code", async () => {
  await refused(client.getSecret(fresh("none")), 404, "SecretNotFound");
  const name = fresh("once");
  await client.setSecret(name, "v");
  await refused(client.getSecret(name, { version: "f".repeat(32) }), 404, "SecretNotFound");
  await refused(client.getSecret("bad_name"), 400, "BadParameter");
  await refused(client.setSecret(fresh("big"), "x".repeat(25601)), 400, "BadParameter");
  const swapped = { notBefore: inDays(2), expiresOn: inDays(1) };
  await refused(client.setSecret(fresh("bad"), "v", swapped), 400, "BadParameter");
  const contentType = "t".repeat(256);
  await refused(client.setSecret(fresh("bad"), "v", { contentType }), 400, "BadParameter");
  const stranger = new SecretClient(url, new Credential("no-token"));
  await refused(stranger.getSecret(name), 401, "Unauthorized");
});

test("secrets: a disabled secret keeps its value to itself", async () => {
  const name = fresh("off");
  await client.setSecret(name, "v", { enabled: false });
  await refused(client.getSecret(name), 403, "Forbidden");
  const listed = await all(client.listPropertiesOfSecrets());
  assert.equal(listed.find((properties) => properties.name === name).enabled, false);
});
