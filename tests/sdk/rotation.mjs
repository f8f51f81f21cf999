// Rotation of keys and random bytes, through the key client.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { CertificateClient } from "@azure/keyvault-certificates";
import { credential, fresh, refused, url } from "./vault.mjs";

const keys = new KeyClient(url, credential);
const certificates = new CertificateClient(url, credential);

test("rotation: a key has a default policy", async () => {
  const name = fresh("key");
  await keys.createEcKey(name);
  const policy = await keys.getKeyRotationPolicy(name);
  assert.match(policy.id, new RegExp(`/keys/${name}/rotationpolicy$`));
  assert.deepEqual(policy.lifetimeActions.map((a) => [a.action, a.timeBeforeExpiry]),
    [["Notify", "P30D"]]);
  assert.equal(policy.expiresIn, undefined);
});

test("rotation: a policy is kept, with a notice unless told otherwise", async () => {
  const name = fresh("key");
  await keys.createRsaKey(name);
  const set = await keys.updateKeyRotationPolicy(name, {
    lifetimeActions: [{ action: "Rotate", timeAfterCreate: "P60D" }], expiresIn: "P90D" });
  assert.equal(set.expiresIn, "P90D");
  assert.ok(set.createdOn instanceof Date && set.updatedOn instanceof Date);
  const actions = set.lifetimeActions.map((a) => a.action).sort();
  assert.deepEqual(actions, ["Notify", "Rotate"]);
  const got = await keys.getKeyRotationPolicy(name);
  assert.equal(got.lifetimeActions.find((a) => a.action === "Rotate").timeAfterCreate, "P60D");
  assert.equal(got.lifetimeActions.find((a) => a.action === "Notify").timeBeforeExpiry, "P30D");
  await refused(keys.updateKeyRotationPolicy(name, { expiresIn: "P20D" }), 400,
    "BadParameter", /P28D/);
  await refused(keys.updateKeyRotationPolicy(name,
    { lifetimeActions: [{ action: "Rotate", timeAfterCreate: "P1D" }] }), 400,
  "BadParameter", /P7D/);
  await refused(keys.getKeyRotationPolicy(fresh("none")), 404, "KeyNotFound", /not found|none/);
});

test("rotation: a new version signs, the former one stays", async () => {
  const name = fresh("key");
  const made = await keys.createEcKey(name, { curve: "P-384", tags: { a: "1" } });
  await keys.updateKeyRotationPolicy(name, { expiresIn: "P1Y" });
  const rotated = await keys.rotateKey(name);
  assert.notEqual(rotated.properties.version, made.properties.version);
  assert.notDeepEqual(rotated.key.x, made.key.x);
  assert.equal(rotated.key.crv, "P-384");
  assert.deepEqual({ ...rotated.properties.tags }, { a: "1" });
  const days = (rotated.properties.expiresOn - Date.now()) / 86400000;
  assert.ok(days > 364 && days < 367, `${days} days`);
  assert.equal((await keys.getKey(name)).properties.version, rotated.properties.version);
  for (const key of [made, rotated]) {
    const client = new CryptographyClient(key.id, credential);
    const data = Buffer.from("x");
    const { result } = await client.signData("ES384", data);
    assert.ok((await client.verifyData("ES384", data, result)).result);
  }
  await refused(keys.rotateKey(fresh("none")), 404, "KeyNotFound", /not found|none/);
});

test("rotation: the key of a certificate is renewed with it", async () => {
  const name = fresh("cert");
  const poller = await certificates.beginCreateCertificate(name,
    { issuerName: "Self", subject: `CN=${name}`, keyType: "EC", keyCurveName: "P-256" });
  await poller.pollUntilDone();
  await refused(keys.rotateKey(name), 403, "Forbidden", /certificate/);
});

test("rotation: random bytes", async () => {
  const a = await keys.getRandomBytes(32);
  const b = await keys.getRandomBytes(32);
  assert.equal(a.length, 32);
  assert.notDeepEqual(a, b);
  assert.equal((await keys.getRandomBytes(128)).length, 128);
  await refused(keys.getRandomBytes(129), 400, "BadParameter", /128/);
});

test("rotation: a key is not released without attestation", async () => {
  const name = fresh("key");
  await keys.createRsaKey(name);
  await refused(keys.releaseKey(name, "token"), 400, "NotSupported", /release/);
});
