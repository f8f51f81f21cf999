// Every algorithm with every type of key, by the vault itself: what fits works and agrees
// with Node.js, what does not is refused by name. And the CryptographyClient that has no
// vault at all.
import assert from "node:assert/strict";
import {
  constants, createHash, createPublicKey, privateDecrypt, publicEncrypt, randomBytes, sign as nodeSign,
  verify as nodeVerify, generateKeyPairSync,
} from "node:crypto";
import { before, test } from "node:test";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { credential, fresh, refused, url } from "./vault.mjs";

const keys = new KeyClient(url, credential);
const kinds = ["RSA", "P-256", "P-384", "P-521", "P-256K"];
const signing = {
  RS256: ["RSA", "sha256"], RS384: ["RSA", "sha384"], RS512: ["RSA", "sha512"],
  PS256: ["RSA", "sha256"], PS384: ["RSA", "sha384"], PS512: ["RSA", "sha512"],
  ES256: ["P-256", "sha256"], ES384: ["P-384", "sha384"], ES512: ["P-521", "sha512"],
  ES256K: ["P-256K", "sha256"],
};
const oaep = (hash) => ({ padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash });
const encrypting = {
  "RSA1_5": { padding: constants.RSA_PKCS1_PADDING }, "RSA-OAEP": oaep("sha1"), "RSA-OAEP-256": oaep("sha256"),
};
const made = {};

before(async () => {
  for (const kind of kinds) {
    made[kind] = kind === "RSA" ? await keys.createRsaKey(fresh("rsa"))
      : await keys.createEcKey(fresh("ec"), { curve: kind });
  }
});

// The generated client of the SDK sends everything to the vault.
const remote = (kind, operation, parameters) =>
  keys.client[operation](made[kind].name, made[kind].properties.version, parameters);
function outside(kind) {
  const { key } = made[kind];
  const jwk = { kty: kind === "RSA" ? "RSA" : "EC", crv: kind === "P-256K" ? "secp256k1" : key.crv };
  for (const member of ["n", "e", "x", "y"]) {
    if (key[member]) jwk[member] = Buffer.from(key[member]).toString("base64url");
  }
  return createPublicKey({ key: jwk, format: "jwk" });
}

for (const [algorithm, [fits, hash]] of Object.entries(signing)) {
  test(`matrix: ${algorithm} signs with ${fits} and with nothing else`, async () => {
    const message = randomBytes(100);
    const value = createHash(hash).update(message).digest();
    for (const kind of kinds) {
      if (kind !== fits) {
        await refused(remote(kind, "sign", { algorithm, value }), 400, "BadParameter");
        await refused(remote(kind, "verify", { algorithm, digest: value, signature: randomBytes(64) }),
          400, "BadParameter");
        continue;
      }
      const signed = await remote(kind, "sign", { algorithm, value });
      assert.equal(signed.kid, made[kind].id);
      const options = algorithm.startsWith("PS")
        ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: value.length } : {};
      assert.ok(nodeVerify(hash, message, { key: outside(kind), dsaEncoding: "ieee-p1363", ...options },
        signed.result));
      const verified = await remote(kind, "verify", { algorithm, digest: value, signature: signed.result });
      assert.equal(verified.value, true);
      const bent = Uint8Array.from(signed.result);
      bent[0] ^= 1;
      assert.equal((await remote(kind, "verify", { algorithm, digest: value, signature: bent })).value, false);
      for (const length of [0, value.length - 1, value.length + 1]) {
        await refused(remote(kind, "sign", { algorithm, value: randomBytes(length) }), 400, "BadParameter");
      }
    }
  });
}

for (const [algorithm, options] of Object.entries(encrypting)) {
  test(`matrix: ${algorithm} encrypts and wraps with RSA and with nothing else`, async () => {
    const value = randomBytes(32);
    for (const kind of kinds.slice(1)) {
      for (const operation of ["encrypt", "decrypt", "wrapKey", "unwrapKey"]) {
        await refused(remote(kind, operation, { algorithm, value }), 400, "BadParameter");
      }
    }
    for (const [there, back] of [["encrypt", "decrypt"], ["wrapKey", "unwrapKey"]]) {
      const closed = await remote("RSA", there, { algorithm, value });
      assert.equal(closed.result.length, 256);
      const opened = await remote("RSA", back, { algorithm, value: closed.result });
      assert.deepEqual(Buffer.from(opened.result), value);
      const foreign = publicEncrypt({ key: outside("RSA"), ...options }, value);
      assert.deepEqual(Buffer.from((await remote("RSA", back, { algorithm, value: foreign })).result), value);
      await refused(remote("RSA", there, { algorithm, value: randomBytes(257) }), 400, "BadParameter");
      await refused(remote("RSA", back, { algorithm, value: randomBytes(255) }), 400, "BadParameter");
    }
  });
}

test("matrix: algorithms that do not exist, or are another operation's", async () => {
  const value = randomBytes(32);
  for (const [operation, algorithm] of [["sign", "RSA-OAEP"], ["encrypt", "RS256"], ["wrapKey", "ES256"],
    ["decrypt", "none"], ["sign", ""], ["sign", "rs256"], ["sign", "HS256"], ["encrypt", "A128GCM"],
    ["wrapKey", "A128KW"]]) {
    await assert.rejects(remote("RSA", operation, { algorithm, value }), (error) => {
      assert.equal(error.statusCode, 400, `${operation} ${algorithm}: ${error.message}`);
      assert.equal(error.code, "BadParameter");
      return true;
    });
  }
});

test("matrix: each operation that a key does not have is forbidden", async () => {
  const value = randomBytes(32);
  const calls = {
    sign: { algorithm: "RS256", value }, verify: { algorithm: "RS256", digest: value, signature: randomBytes(256) },
    encrypt: { algorithm: "RSA-OAEP", value }, decrypt: { algorithm: "RSA-OAEP", value: randomBytes(256) },
    wrapKey: { algorithm: "RSA-OAEP", value }, unwrapKey: { algorithm: "RSA-OAEP", value: randomBytes(256) },
  };
  for (const operation of Object.keys(calls)) {
    const keyOps = Object.keys(calls).filter((one) => one !== operation);
    const key = await keys.createRsaKey(fresh("ops"), { keyOps });
    await refused(keys.client[operation](key.name, "", calls[operation]), 403, "Forbidden", /operation/);
  }
});

test("matrix: outside its dates a key verifies and decrypts, and does nothing else", async () => {
  const past = new Date(Date.now() - 86400e3);
  const key = await keys.createRsaKey(fresh("past"));
  const value = randomBytes(32);
  const call = (operation, parameters) => keys.client[operation](key.name, "", parameters);
  const signed = await call("sign", { algorithm: "RS256", value });
  const closed = await call("encrypt", { algorithm: "RSA-OAEP", value });
  await keys.updateKeyProperties(key.name, key.properties.version, { expiresOn: past });
  for (const [operation, algorithm] of [["sign", "RS256"], ["encrypt", "RSA-OAEP"], ["wrapKey", "RSA-OAEP"]]) {
    await refused(call(operation, { algorithm, value }), 403, "Forbidden", /expired/);
  }
  assert.equal((await call("verify", { algorithm: "RS256", digest: value, signature: signed.result })).value, true);
  for (const operation of ["decrypt", "unwrapKey"]) {
    const opened = await call(operation, { algorithm: "RSA-OAEP", value: closed.result });
    assert.deepEqual(Buffer.from(opened.result), value);
  }
});

test("matrix: a CryptographyClient of a JWK alone encrypts for the vault's key", async () => {
  const local = new CryptographyClient(made.RSA.key);
  for (const algorithm of ["RSA1_5", "RSA-OAEP"]) {
    const closed = await local.encrypt(algorithm, Buffer.from("from far away"));
    const opened = await remote("RSA", "decrypt", { algorithm, value: closed.result });
    assert.equal(Buffer.from(opened.result).toString(), "from far away");
  }
  await assert.rejects(local.sign("RS256", randomBytes(32)), /local/i);
});

test("matrix: verifyData of the SDK's own, with a key of the vault", async () => {
  const client = new CryptographyClient(made.RSA, credential);
  const message = Buffer.from("data");
  for (const algorithm of ["RS256", "RS384", "RS512"]) {
    const signed = await client.signData(algorithm, message);
    assert.equal((await client.verifyData(algorithm, message, signed.result)).result, true);
    assert.equal((await client.verifyData(algorithm, Buffer.from("other"), signed.result)).result, false);
  }
});

for (const [label, type, options, hash, algorithm] of [
  ["RSA 4096", "rsa", { modulusLength: 4096 }, "sha512", "RS512"],
  ["P-521", "ec", { namedCurve: "P-521" }, "sha512", "ES512"],
  ["P-256K", "ec", { namedCurve: "secp256k1" }, "sha256", "ES256K"],
]) {
  test(`matrix: an imported key of ${label} is the same key`, async () => {
    const pair = generateKeyPairSync(type, options);
    const jwk = pair.privateKey.export({ format: "jwk" });
    const bytes = { kty: jwk.kty, crv: jwk.crv === "secp256k1" ? "P-256K" : jwk.crv };
    for (const member of ["n", "e", "d", "p", "q", "dp", "dq", "qi", "x", "y"]) {
      if (jwk[member]) bytes[member] = Buffer.from(jwk[member], "base64url");
    }
    const key = await keys.importKey(fresh("import"), bytes);
    const message = randomBytes(64);
    const digest = createHash(hash).update(message).digest();
    const signed = await keys.client.sign(key.name, "", { algorithm, value: digest });
    assert.ok(nodeVerify(hash, message, { key: pair.publicKey, dsaEncoding: "ieee-p1363" }, signed.result));
    const foreign = nodeSign(hash, message, { key: pair.privateKey, dsaEncoding: "ieee-p1363" });
    const answer = await keys.client.verify(key.name, "", { algorithm, digest, signature: foreign });
    assert.equal(answer.value, true);
    if (type === "rsa") {
      const closed = await keys.client.encrypt(key.name, "", { algorithm: "RSA-OAEP-256", value: digest });
      assert.deepEqual(privateDecrypt({ key: pair.privateKey, ...oaep("sha256") }, closed.result), digest);
    }
  });
}
