// KeyClient: keys are made, imported, read and listed.
import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { KeyClient, parseKeyVaultKeyIdentifier } from "@azure/keyvault-keys";
import {
  all, Credential, credential, fresh, inDays, isVersion, refused, seconds, tenant, url,
} from "./vault.mjs";

const client = new KeyClient(url, credential);
const rsaOps = ["decrypt", "encrypt", "sign", "unwrapKey", "verify", "wrapKey"];
const coordinate = { "P-256": 32, "P-384": 48, "P-521": 66, "P-256K": 32 };

test("keys: the challenge leads to this vault's own scope and tenant", async () => {
  const asked = new Credential();
  await refused(new KeyClient(url, asked).getKey(fresh("none")), 404, "KeyNotFound");
  assert.deepEqual(asked.asked[0].scopes, ["https://vault.localhost/.default"]);
  assert.equal(asked.asked[0].tenant, tenant);
});

test("keys: the SDK's check of the challenge is on", async () => {
  const bare = url.replace("default.vault.localhost", "localhost");
  await assert.rejects(new KeyClient(bare, credential).getKey("any"), /challenge resource/);
});

test("keys: a wrong token is refused before anything else", async () => {
  const stranger = new KeyClient(url, new Credential("A".repeat(43)));
  await refused(stranger.getKey("any"), 401, "Unauthorized");
  await refused(stranger.createKey("bad_name", "RSA"), 401, "Unauthorized");
});

for (const size of [undefined, 3072, 4096]) {
  test(`keys: create RSA ${size ?? "of the default size"}`, async () => {
    const name = fresh("rsa");
    const made = await client.createRsaKey(name, size && { keySize: size });
    assert.equal(made.name, name);
    assert.equal(made.keyType, "RSA");
    assert.match(made.properties.version, isVersion);
    assert.equal(made.id, `${url}/keys/${name}/${made.properties.version}`);
    assert.equal(made.key.n.length * 8, size ?? 2048);
    assert.deepEqual([...made.key.e], [1, 0, 1]);
    assert.deepEqual([...made.keyOperations].sort(), rsaOps);
    assert.equal(made.properties.enabled, true);
    assert.equal(made.properties.vaultUrl, url);
    assert.match(made.properties.recoveryLevel, /^Recoverable\+Purgeable$/);
    assert.equal(made.properties.recoverableDays, 90);
    for (const member of ["d", "p", "q", "dp", "dq", "qi"]) {
      assert.equal(made.key[member], undefined, `${member} stays in the vault`);
    }
  });
}

for (const curve of Object.keys(coordinate)) {
  test(`keys: create EC ${curve}`, async () => {
    const name = fresh("ec");
    const made = await client.createEcKey(name, { curve });
    assert.equal(made.keyType, "EC");
    assert.equal(made.key.crv, curve);
    assert.equal(made.key.x.length, coordinate[curve]);
    assert.equal(made.key.y.length, coordinate[curve]);
    assert.equal(made.key.d, undefined);
    assert.deepEqual([...made.keyOperations].sort(), ["sign", "verify"]);
  });
}

test("keys: an EC key without a curve is on P-256", async () => {
  assert.equal((await client.createKey(fresh("ec"), "EC")).key.crv, "P-256");
});

test("keys: operations, dates, tags and the enabled bit are kept", async () => {
  const name = fresh("full");
  const options = {
    keyOps: ["sign", "verify"],
    enabled: false,
    notBefore: inDays(-1),
    expiresOn: inDays(400),
    tags: { environment: "Prüfung", owner: "a b/c" },
  };
  const made = await client.createRsaKey(name, options);
  const read = await client.getKey(name);
  assert.deepEqual(read, made);
  assert.deepEqual([...read.keyOperations].sort(), ["sign", "verify"]);
  assert.equal(read.properties.enabled, false);
  assert.equal(seconds(read.properties.notBefore), seconds(options.notBefore));
  assert.equal(seconds(read.properties.expiresOn), seconds(options.expiresOn));
  assert.deepEqual({ ...read.properties.tags }, options.tags);
  assert.ok(Math.abs(read.properties.createdOn - Date.now()) < 120e3);
});

test("keys: a date after 2038 is the date that was meant", async () => {
  const expiresOn = new Date("2100-01-01T00:00:00Z");
  const made = await client.createEcKey(fresh("late"), { expiresOn });
  assert.equal(made.properties.expiresOn.toISOString(), expiresOn.toISOString());
});

test("keys: versions are listed, got by name and version, and the last is current", async () => {
  const name = fresh("versions");
  const made = [];
  for (const curve of ["P-256", "P-384", "P-521"]) {
    made.push(await client.createEcKey(name, { curve, tags: { curve } }));
  }
  assert.equal((await client.getKey(name)).id, made[2].id);
  for (const key of made) {
    const read = await client.getKey(name, { version: key.properties.version });
    assert.deepEqual(read, key);
  }
  const listed = await all(client.listPropertiesOfKeyVersions(name));
  assert.deepEqual(listed.map((p) => p.id).sort(), made.map((key) => key.id).sort());
  for (const properties of listed) {
    const key = made.find((candidate) => candidate.id === properties.id);
    assert.equal(properties.version, key.properties.version);
    assert.deepEqual({ ...properties.tags }, { ...key.properties.tags });
  }
});

test("keys: the list has each key once, without version, however it is paged", async () => {
  const names = [];
  for (let i = 0; i < 9; i++) names.push(fresh("list"));
  for (const name of names) await client.createEcKey(name);
  await client.createEcKey(names[0]);
  const listed = await all(client.listPropertiesOfKeys());
  for (const name of names) {
    const found = listed.filter((properties) => properties.name === name);
    assert.equal(found.length, 1, name);
    assert.equal(found[0].id, `${url}/keys/${name}`);
    assert.equal(parseKeyVaultKeyIdentifier(found[0].id).version, undefined);
  }
  const paged = [];
  for await (const page of client.listPropertiesOfKeys().byPage({ maxPageSize: 4 })) {
    assert.ok(page.length <= 4, `a page of ${page.length}`);
    paged.push(...page);
  }
  assert.deepEqual(paged.map((p) => p.id).sort(), listed.map((p) => p.id).sort());
});

// The private JWK of a key pair that Node.js made, with bytes as the SDK wants them.
function privateJwk(type, options, ops) {
  const pair = generateKeyPairSync(type, options);
  const jwk = pair.privateKey.export({ format: "jwk" });
  const key = { kty: jwk.kty, keyOps: ops };
  if (jwk.crv) key.crv = jwk.crv === "secp256k1" ? "P-256K" : jwk.crv;
  for (const member of ["n", "e", "d", "p", "q", "dp", "dq", "qi", "x", "y"]) {
    if (jwk[member]) key[member] = Buffer.from(jwk[member], "base64url");
  }
  return { pair, key };
}

for (const [label, type, options] of [
  ["RSA 2048", "rsa", { modulusLength: 2048 }],
  ["RSA 3072", "rsa", { modulusLength: 3072 }],
  ["EC P-256", "ec", { namedCurve: "P-256" }],
  ["EC P-384", "ec", { namedCurve: "P-384" }],
  ["EC P-521", "ec", { namedCurve: "P-521" }],
  ["EC P-256K", "ec", { namedCurve: "secp256k1" }],
]) {
  test(`keys: import ${label}`, async () => {
    const name = fresh("import");
    const { pair, key } = privateJwk(type, options, ["sign", "verify"]);
    const made = await client.importKey(name, key, { tags: { from: "node" } });
    assert.equal(made.keyType, key.kty);
    assert.equal(made.key.d, undefined);
    for (const member of ["n", "x", "y"]) {
      if (key[member]) assert.deepEqual(Buffer.from(made.key[member]), key[member]);
    }
    assert.deepEqual({ ...made.properties.tags }, { from: "node" });
    assert.deepEqual((await client.getKey(name)).id, made.id);
    if (type === "rsa") {
      const jwk = { kty: "RSA", n: Buffer.from(made.key.n).toString("base64url"), e: "AQAB" };
      const spki = { format: "der", type: "spki" };
      assert.deepEqual(
        createPublicKey({ key: jwk, format: "jwk" }).export(spki), pair.publicKey.export(spki),
      );
    }
  });
}

test("keys: an import that is no key is refused", async () => {
  const { key } = privateJwk("ec", { namedCurve: "P-256" });
  const other = privateJwk("ec", { namedCurve: "P-256" }).key;
  const mixed = { ...key, x: other.x, y: other.y };
  await refused(client.importKey(fresh("bad"), mixed), 400, "BadParameter");
  const { d, ...publicOnly } = key;
  assert.ok(d);
  await refused(client.importKey(fresh("bad"), publicOnly), 400, "BadParameter");
});

test("keys: there is no attestation of a key in software", async () => {
  const name = fresh("key");
  await client.createEcKey(name);
  await refused(client.getKeyAttestation(name), 400, "NotSupported");
});

test("keys: errors have the contract's status and code", async () => {
  await refused(client.getKey(fresh("none")), 404, "KeyNotFound");
  const name = fresh("once");
  await client.createEcKey(name);
  const version = "0".repeat(32);
  await refused(client.getKey(name, { version }), 404, "KeyNotFound");
  await refused(client.createKey("under_score", "EC"), 400, "BadParameter");
  await refused(client.createKey(fresh("bad"), "DSA"), 400, "BadParameter");
  await refused(client.createRsaKey(fresh("bad"), { keySize: 1024 }), 400, "BadParameter");
  await refused(client.createEcKey(fresh("bad"), { curve: "P-192" }), 400, "BadParameter");
  await refused(client.createKey(fresh("bad"), "oct", { keySize: 256 }), 400, "BadParameter");
  const tags = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`t${i}`, "v"]));
  await refused(client.createEcKey(fresh("bad"), { tags }), 400, "BadParameter");
});

test("keys: a standard vault has no keys in hardware and no symmetric ones", async () => {
  const bad = (promise) => refused(promise, 400, "BadParameter");
  const { key } = privateJwk("ec", { namedCurve: "P-256" });
  await bad(client.createRsaKey(fresh("bad"), { hsm: true }));
  await bad(client.createEcKey(fresh("bad"), { hsm: true }));
  await bad(client.createOctKey(fresh("bad")));
  await bad(client.createOctKey(fresh("bad"), { hsm: true }));
  await bad(client.importKey(fresh("bad"), key, { hardwareProtected: true }));
});

test("keys: older versions of the API are served, unknown ones are refused", async () => {
  const name = fresh("api");
  const made = await client.createEcKey(name);
  const older = new KeyClient(url, credential, { serviceVersion: "7.4" });
  assert.equal((await older.getKey(name)).id, made.id);
  const unknown = new KeyClient(url, credential, { serviceVersion: "6.0" });
  await refused(unknown.getKey(name), 400, "BadParameter");
});

test("keys: names are one whatever their case", async () => {
  const name = fresh("Case");
  const made = await client.createEcKey(name);
  assert.equal((await client.getKey(name.toUpperCase())).id, made.id);
});
