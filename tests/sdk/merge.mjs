// Certificates that a CA outside signs: request out, chain in.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { after, before, test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { credential, fresh, refused, url, Workshop } from "./vault.mjs";

const client = new CertificateClient(url, credential);
const keys = new KeyClient(url, credential);
const secrets = new SecretClient(url, credential);
const ca = new Workshop();

before(() => {
  ca.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Outside CA",
    "-keyout", "ca.key", "-out", "ca.pem", "-days", "30");
});
after(() => ca.close());

async function order(name, policy = {}) {
  await client.beginCreateCertificate(name,
    { issuerName: "Unknown", subject: `CN=${name}`, keyType: "EC", keyCurveName: "P-256", ...policy });
  const operation = await client.getCertificateOperation(name);
  return operation.getOperationState().certificateOperation;
}

// The CA's certificate for a request, in DER.
function sign(operation) {
  ca.write("csr.der", Buffer.from(operation.csr));
  ca.openssl("x509", "-req", "-inform", "DER", "-in", "csr.der", "-CA", "ca.pem",
    "-CAkey", "ca.key", "-days", "9", "-outform", "DER", "-out", "leaf.der");
  return ca.read("leaf.der");
}
const caDer = () => new X509Certificate(ca.read("ca.pem")).raw;

test("merge: the chain completes the order", async () => {
  const name = fresh("merge");
  const operation = await order(name);
  assert.equal(operation.status, "inProgress");
  assert.match(operation.statusDetails, /Merge/);
  const leaf = sign(operation);
  const merged = await client.mergeCertificate(name, [leaf, caDer()]);
  assert.deepEqual(Buffer.from(merged.cer), leaf);
  assert.equal(merged.properties.enabled, true);
  const done = await client.getCertificateOperation(name);
  assert.equal(done.getOperationState().certificateOperation.status, "completed");
  const key = await keys.getKey(name);
  const { result } = await new CryptographyClient(key, credential).signData("ES256", Buffer.from("x"));
  assert.equal(result.length, 64);
  const secret = await secrets.getSecret(name);
  assert.equal(secret.properties.contentType, "application/x-pkcs12");
  const other = await order(name);
  assert.notEqual(other.requestId, operation.requestId);
  assert.deepEqual(Buffer.from((await client.getCertificate(name)).cer), leaf, "the old one stays current");
});

test("merge: any order of the chain", async () => {
  const name = fresh("merge");
  const leaf = sign(await order(name));
  const merged = await client.mergeCertificate(name, [caDer(), leaf]);
  assert.deepEqual(Buffer.from(merged.cer), leaf);
});

test("merge: what does not fit is refused, and the order goes on waiting", async () => {
  const name = fresh("merge");
  const other = fresh("other");
  const operation = await order(name);
  const foreign = sign(await order(other));
  await refused(client.mergeCertificate(name, [foreign, caDer()]), 400, "BadParameter");
  await refused(client.mergeCertificate(name, [caDer()]), 400, "BadParameter");
  await refused(client.mergeCertificate(name, [Buffer.from("no certificate")]), 400, "BadParameter");
  await refused(client.mergeCertificate(name, []), 400, "BadParameter", /at least one/);
  const leaf = sign(operation);
  assert.deepEqual(Buffer.from((await client.mergeCertificate(name, [leaf])).cer), leaf);
  await refused(client.mergeCertificate(name, [leaf]), 400, "BadParameter", /ended/);
  await refused(client.mergeCertificate(fresh("none"), [leaf]), 404, "PendingCertificateNotFound");
});

test("merge: cancelled, it takes nothing", async () => {
  const name = fresh("merge");
  const operation = await order(name);
  const poller = await client.getCertificateOperation(name);
  await poller.cancelOperation();
  await refused(client.mergeCertificate(name, [sign(operation)]), 400, "BadParameter", /ended/);
});
