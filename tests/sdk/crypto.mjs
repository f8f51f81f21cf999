// CryptographyClient: what the vault computes agrees with what Node.js computes.
import assert from "node:assert/strict";
import {
  constants, createHash, createPublicKey, privateDecrypt, publicEncrypt, generateKeyPairSync,
  randomBytes, sign as nodeSign, verify as nodeVerify,
} from "node:crypto";
import { test } from "node:test";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { credential, fresh, inDays, refused, url } from "./vault.mjs";

const keys = new KeyClient(url, credential);
const message = Buffer.from("signed by a key that nobody can read, größer als ein Block".repeat(40));
const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };

// algorithm: hash, options of Node's verify, curve
const algorithms = {
  RS256: ["sha256", {}], RS384: ["sha384", {}], RS512: ["sha512", {}],
  PS256: ["sha256", pss], PS384: ["sha384", pss], PS512: ["sha512", pss],
  ES256: ["sha256", {}, "P-256", 64], ES384: ["sha384", {}, "P-384", 96],
  ES512: ["sha512", {}, "P-521", 132], ES256K: ["sha256", {}, "P-256K", 64],
};
const digestOf = (hash, data) => createHash(hash).update(data).digest();

// A key of the vault as Node.js has keys.
function publicKey(key) {
  const jwk = { kty: key.keyType, crv: key.key.crv === "P-256K" ? "secp256k1" : key.key.crv };
  for (const member of ["n", "e", "x", "y"]) {
    if (key.key[member]) jwk[member] = Buffer.from(key.key[member]).toString("base64url");
  }
  return createPublicKey({ key: jwk, format: "jwk" });
}

const made = new Map();
// One key for each kind, shared by the tests of this file.
async function keyFor(curve) {
  const kind = curve ?? "RSA";
  if (!made.has(kind)) {
    made.set(kind, curve ? keys.createEcKey(fresh("sign"), { curve }) : keys.createRsaKey(fresh("rsa")));
  }
  return made.get(kind);
}

for (const [algorithm, [hash, options, curve, length]] of Object.entries(algorithms)) {
  test(`crypto: ${algorithm} signed by the vault verifies everywhere`, async () => {
    const key = await keyFor(curve);
    const client = new CryptographyClient(key, credential);
    const digest = digestOf(hash, message);
    const signed = await client.sign(algorithm, digest);
    assert.equal(signed.algorithm, algorithm);
    assert.equal(signed.keyID, key.id);
    assert.equal(signed.result.length, length ?? 256);
    const outside = { key: publicKey(key), dsaEncoding: "ieee-p1363", ...options };
    assert.ok(nodeVerify(hash, message, outside, signed.result), "Node.js agrees");
    const data = await client.signData(algorithm, message);
    assert.ok(nodeVerify(hash, message, outside, data.result), "signData hashes first");

    assert.equal((await client.verify(algorithm, digest, signed.result)).result, true);
    if (!algorithm.startsWith("PS")) { // the SDK's own PS check is PKCS #1 v1.5: always false
      assert.equal((await client.verifyData(algorithm, message, data.result)).result, true);
    }
    const bad = Uint8Array.from(signed.result);
    bad[bad.length - 1] ^= 1;
    assert.equal((await client.verify(algorithm, digest, bad)).result, false);
    const other = digestOf(hash, "another message");
    assert.equal((await client.verify(algorithm, other, signed.result)).result, false);
  });

  test(`crypto: ${algorithm} signed elsewhere verifies in the vault`, async () => {
    const name = fresh("import");
    const pair = curve
      ? generateKeyPairSync("ec", { namedCurve: curve === "P-256K" ? "secp256k1" : curve })
      : generateKeyPairSync("rsa", { modulusLength: 2048 });
    const jwk = pair.privateKey.export({ format: "jwk" });
    const bytes = { kty: jwk.kty, crv: curve };
    for (const member of ["n", "e", "d", "p", "q", "dp", "dq", "qi", "x", "y"]) {
      if (jwk[member]) bytes[member] = Buffer.from(jwk[member], "base64url");
    }
    const key = await keys.importKey(name, bytes);
    const signature = nodeSign(hash, message, {
      key: pair.privateKey, dsaEncoding: "ieee-p1363", ...options,
    });
    const client = new CryptographyClient(key.id, credential);
    const answer = await client.verify(algorithm, digestOf(hash, message), signature);
    assert.equal(answer.result, true);
    const back = await client.sign(algorithm, digestOf(hash, message));
    const outside = { key: pair.publicKey, dsaEncoding: "ieee-p1363", ...options };
    assert.ok(nodeVerify(hash, message, outside, back.result), "it is the imported key that signs");
  });
}

for (const [algorithm, padding, oaepHash] of [
  ["RSA1_5", constants.RSA_PKCS1_PADDING],
  ["RSA-OAEP", constants.RSA_PKCS1_OAEP_PADDING, "sha1"],
  ["RSA-OAEP-256", constants.RSA_PKCS1_OAEP_PADDING, "sha256"],
]) {
  test(`crypto: ${algorithm} encrypts, decrypts, wraps and unwraps`, async () => {
    const key = await keyFor();
    const client = new CryptographyClient(key, credential);
    const plaintext = Buffer.from("vierzig Zeichen über gar nichts, und so");
    const encrypted = await client.encrypt(algorithm, plaintext);
    assert.equal(encrypted.result.length, 256);
    assert.equal(encrypted.keyID, key.id);
    const decrypted = await client.decrypt(algorithm, encrypted.result);
    assert.deepEqual(Buffer.from(decrypted.result), plaintext);
    const outside = publicEncrypt({ key: publicKey(key), padding, oaepHash }, plaintext);
    assert.deepEqual(Buffer.from((await client.decrypt(algorithm, outside)).result), plaintext);

    const secret = randomBytes(32);
    const wrapped = await client.wrapKey(algorithm, secret);
    const unwrapped = await client.unwrapKey(algorithm, wrapped.result);
    assert.deepEqual(Buffer.from(unwrapped.result), secret);
  });

  test(`crypto: ${algorithm} by the vault itself, with a client that has no public key`, async () => {
    const key = await keyFor();
    // The generated client of the SDK: what a caller without keys/get ends up with.
    const { client } = keys;
    const value = Buffer.from("remote");
    const parameters = (bytes) => ({ algorithm, value: bytes });
    const { version } = key.properties;
    const encrypted = await client.encrypt(key.name, version, parameters(value));
    const decrypted = await client.decrypt(key.name, version, parameters(encrypted.result));
    assert.deepEqual(Buffer.from(decrypted.result), value);
    const wrapped = await client.wrapKey(key.name, "", parameters(value));
    assert.equal(wrapped.kid, key.id);
    const unwrapped = await client.unwrapKey(key.name, "", parameters(wrapped.result));
    assert.deepEqual(Buffer.from(unwrapped.result), value);
  });
}

test("crypto: what the vault encrypts to an imported key, its owner can read", async () => {
  const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = pair.privateKey.export({ format: "jwk" });
  const bytes = { kty: "RSA" };
  for (const member of ["n", "e", "d", "p", "q", "dp", "dq", "qi"]) {
    bytes[member] = Buffer.from(jwk[member], "base64url");
  }
  const key = await keys.importKey(fresh("import"), bytes);
  const encrypted = await new CryptographyClient(key, credential)
    .encrypt("RSA-OAEP-256", Buffer.from("for you"));
  const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" };
  const read = privateDecrypt({ key: pair.privateKey, ...oaep }, encrypted.result);
  assert.equal(read.toString(), "for you");
});

test("crypto: damaged ciphertext is refused, RSA1_5 without telling why", async () => {
  const client = new CryptographyClient(await keyFor(), credential);
  const noise = Buffer.concat([Buffer.from([0]), randomBytes(255)]);
  await refused(client.decrypt("RSA-OAEP", noise), 400, "BadParameter");
  // Implicit rejection: some bytes, the same each time, and no error.
  const first = await client.decrypt("RSA1_5", noise);
  const second = await client.decrypt("RSA1_5", noise);
  assert.deepEqual(first.result, second.result);
});

test("crypto: a client by id without version uses the current one", async () => {
  const name = fresh("current");
  await keys.createEcKey(name);
  const client = keys.getCryptographyClient(name);
  const digest = digestOf("sha256", message);
  const second = await keys.createEcKey(name);
  const signed = await client.sign("ES256", digest);
  assert.equal(signed.keyID, second.id);
  assert.ok(nodeVerify("sha256", message,
    { key: publicKey(second), dsaEncoding: "ieee-p1363" }, signed.result));
});

test("crypto: an old version still verifies what it signed", async () => {
  const name = fresh("old");
  const first = await keys.createEcKey(name);
  const digest = digestOf("sha256", message);
  const signed = await new CryptographyClient(first.id, credential).sign("ES256", digest);
  const second = await keys.createEcKey(name);
  const verify = (id) => new CryptographyClient(id, credential).verify("ES256", digest, signed.result);
  assert.equal((await verify(first.id)).result, true);
  assert.equal((await verify(second.id)).result, false);
});

test("crypto: wrong lengths and algorithms are bad parameters", async () => {
  const ec = new CryptographyClient(await keyFor("P-256"), credential);
  const rsa = new CryptographyClient(await keyFor(), credential);
  await refused(ec.sign("ES256", randomBytes(31)), 400, "BadParameter");
  await refused(rsa.sign("RS512", randomBytes(32)), 400, "BadParameter");
  await refused(ec.sign("ES384", randomBytes(48)), 400, "BadParameter");
  await refused(ec.sign("RS256", randomBytes(32)), 400, "BadParameter");
  await refused(rsa.sign("XX256", randomBytes(32)), 400, "BadParameter");
});

test("crypto: the vault itself enforces operations, dates and the enabled bit", async () => {
  const sign = (key) => keys.client.sign(key.name, key.properties.version, {
    algorithm: "ES256", value: randomBytes(32),
  });
  const onlyVerify = await keys.createEcKey(fresh("ops"), { keyOps: ["verify"] });
  await refused(sign(onlyVerify), 403, "Forbidden");
  const disabled = await keys.createEcKey(fresh("off"), { enabled: false });
  await refused(sign(disabled), 403, "Forbidden");
  const early = await keys.createEcKey(fresh("early"), { notBefore: inDays(1) });
  await refused(sign(early), 403, "Forbidden");
  const late = await keys.createEcKey(fresh("late"), {
    notBefore: inDays(-2), expiresOn: inDays(-1),
  });
  await refused(sign(late), 403, "Forbidden");
  const good = await keys.createEcKey(fresh("on"));
  assert.equal((await sign(good)).kid, good.id);
});
