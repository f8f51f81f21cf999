// Certificate files as other programs write them: PKCS #12 with old and new ciphers, PEM in
// both encodings, chains in any order; and what comes out again.
import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { after, before, test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { CryptographyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { credential, fresh, refused, url, Workshop } from "./vault.mjs";

const client = new CertificateClient(url, credential);
const secrets = new SecretClient(url, credential);
const shop = new Workshop();
const pemType = "application/x-pem-file";

const read = (name) => new X509Certificate(shop.read(name));

before(() => {
  shop.write("ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n");
  shop.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Root", "-keyout", "root.key",
    "-out", "root.pem", "-days", "30");
  for (const [name, issuer, extensions] of [["middle", "root", "ca.ext"], ["leaf", "middle", null],
    ["ec", "middle", null]]) {
    const key = name === "ec" ? ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"] : ["rsa:2048"];
    shop.openssl("req", "-newkey", ...key, "-nodes", "-subj", `/CN=${name}`, "-keyout", `${name}.key`,
      "-out", "csr");
    shop.openssl("x509", "-req", "-in", "csr", "-CA", `${issuer}.pem`, "-CAkey", `${issuer}.key`,
      "-CAcreateserial", "-days", "20", "-out", `${name}.pem`,
      ...(extensions ? ["-extfile", extensions] : []));
  }
  shop.write("chain.pem", Buffer.concat([shop.read("middle.pem"), shop.read("root.pem")]));
});
after(() => shop.close());

function pfx(name, ...options) {
  shop.openssl("pkcs12", "-export", "-inkey", `${name}.key`, "-in", `${name}.pem`, "-certfile", "chain.pem",
    "-out", "file.pfx", ...options);
  return shop.read("file.pfx");
}
const subjects = (text) => (text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [])
  .map((one) => new X509Certificate(one).subject);

// The certificate's secret as PEM, whatever the policy's type is.
async function asPem(name) {
  const { value } = await secrets.client.getSecret(name, "", { outContentType: pemType });
  return value;
}

for (const [label, options] of [
  ["of this OpenSSL", []],
  ["with RC2 and 3DES", ["-legacy"]],
  ["with 3DES for both", ["-legacy", "-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES"]],
  ["with RC2 of 40 bits for both", ["-legacy", "-certpbe", "PBE-SHA1-RC2-40", "-keypbe", "PBE-SHA1-RC2-40"]],
  ["with AES-128 and SHA-1", ["-certpbe", "AES-128-CBC", "-keypbe", "AES-128-CBC", "-macalg", "SHA1"]],
  ["without encrypted certificates", ["-certpbe", "NONE"]],
]) {
  test(`files: PKCS #12 ${label}`, async () => {
    const name = fresh("pfx");
    const made = await client.importCertificate(name, pfx("leaf", ...options, "-passout", "pass:geheim"),
      { password: "geheim", tags: { form: label } });
    assert.deepEqual(Buffer.from(made.cer), read("leaf.pem").raw);
    assert.deepEqual({ ...made.properties.tags }, { form: label });
    const text = await asPem(name);
    assert.deepEqual(subjects(text), ["CN=leaf", "CN=middle", "CN=Root"]);
    assert.ok(read("leaf.pem").checkPrivateKey(createPrivateKey(text)));
  });
}

test("files: PKCS #12 with an EC key and an empty password", async () => {
  const name = fresh("pfx");
  const made = await client.importCertificate(name, pfx("ec", "-passout", "pass:"));
  assert.equal(made.policy.keyType, "EC");
  assert.equal(made.policy.keyCurveName, "P-384");
  const signed = await new CryptographyClient(made.keyId, credential).signData("ES384", Buffer.from("x"));
  assert.equal(signed.result.length, 96);
});

test("files: the password of PKCS #12 is taken off", async () => {
  const name = fresh("pfx");
  await client.importCertificate(name, pfx("leaf", "-passout", "pass:p"), { password: "p" });
  shop.write("out.pfx", Buffer.from((await secrets.getSecret(name)).value, "base64"));
  const text = shop.openssl("pkcs12", "-in", "out.pfx", "-nodes", "-passin", "pass:").toString();
  assert.ok(subjects(text).includes("CN=leaf"));
});

test("files: a wrong password, and none where one is needed", async () => {
  const file = pfx("leaf", "-passout", "pass:right");
  await refused(client.importCertificate(fresh("pfx"), file, { password: "wrong" }), 400, "BadParameter");
  await refused(client.importCertificate(fresh("pfx"), file), 400, "BadParameter");
});

test("files: PKCS #12 without a key, or cut, is refused", async () => {
  shop.openssl("pkcs12", "-export", "-nokeys", "-in", "leaf.pem", "-out", "nokey.pfx", "-passout", "pass:");
  await refused(client.importCertificate(fresh("pfx"), shop.read("nokey.pfx")), 400, "BadParameter");
  await refused(client.importCertificate(fresh("pfx"), pfx("leaf", "-passout", "pass:").subarray(0, 900)),
    400, "BadParameter");
});

for (const [label, options] of [["as text", { policy: { contentType: pemType } }], ["as bytes in base64", {}]]) {
  test(`files: PEM ${label}, key first`, async () => {
    const name = fresh("pem");
    const file = Buffer.concat(["leaf.key", "leaf.pem", "chain.pem"].map((one) => shop.read(one)));
    const made = await client.importCertificate(name, file, options);
    assert.deepEqual(Buffer.from(made.cer), read("leaf.pem").raw);
    const text = await asPem(name);
    assert.deepEqual(subjects(text), ["CN=leaf", "CN=middle", "CN=Root"]);
    assert.ok(read("leaf.pem").checkPrivateKey(createPrivateKey(text)));
  });
}

for (const [label, order] of [
  ["the chain first and the key last", ["chain.pem", "leaf.pem", "leaf.key"]],
  ["the root first", ["root.pem", "middle.pem", "leaf.pem", "leaf.key"]],
]) {
  test(`files: PEM with ${label}: leaf first comes out`, async () => {
    const name = fresh("pem");
    const file = Buffer.concat(order.map((one) => shop.read(one)));
    const made = await client.importCertificate(name, file);
    assert.deepEqual(Buffer.from(made.cer), read("leaf.pem").raw);
    assert.equal(subjects(await asPem(name))[0], "CN=leaf");
  });
}

test("files: PEM with a key in the form of PKCS #1 or SEC 1", async () => {
  for (const name of ["leaf", "ec"]) {
    shop.openssl("pkey", "-in", `${name}.key`, "-traditional", "-out", "old.key");
    const file = Buffer.concat([shop.read("old.key"), shop.read(`${name}.pem`)]);
    const made = await client.importCertificate(fresh("pem"), file);
    assert.deepEqual(Buffer.from(made.cer), read(`${name}.pem`).raw);
  }
});

test("files: PEM with the key of another certificate is refused", async () => {
  const file = Buffer.concat([shop.read("middle.key"), shop.read("leaf.pem")]);
  await refused(client.importCertificate(fresh("pem"), file, { policy: { contentType: pemType } }),
    400, "BadParameter");
});

test("files: PKCS #12 becomes PEM on reading, other conversions are refused", async () => {
  const name = fresh("convert");
  await client.importCertificate(name, pfx("leaf", "-passout", "pass:"));
  assert.match(await asPem(name), /-----BEGIN PRIVATE KEY-----/);
  const other = secrets.client.getSecret(name, "", { outContentType: "text/plain" });
  await refused(other, 400, "BadParameter");
  const plain = await secrets.setSecret(fresh("plain"), "v");
  assert.equal((await secrets.getSecret(plain.name)).value, "v");
});

test("files: the order of an import is kept on request", async () => {
  const name = fresh("order");
  const file = pfx("leaf", "-passout", "pass:");
  const made = await client.importCertificate(name, file, { preserveCertificateOrder: true });
  assert.deepEqual(Buffer.from(made.cer), read("leaf.pem").raw);
  assert.equal(subjects(await asPem(name)).length, 3);
});
