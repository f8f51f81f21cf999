// Operations that take time: how the SDK's pollers see them begin, end, fail and resume.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { all, credential, fresh, refused, url, Wire, Workshop } from "./vault.mjs";

const keys = new KeyClient(url, credential);
const secrets = new SecretClient(url, credential);
const certificates = new CertificateClient(url, credential);
const ca = new Workshop();
const quick = { intervalInMs: 50 };
const unknown = (cn, more = {}) => ({
  issuerName: "Unknown", subject: `CN=${cn}`, keyType: "EC", keyUsage: ["digitalSignature"], ...more,
});

before(() => {
  ca.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Outside CA",
    "-keyout", "ca.key", "-out", "ca.pem", "-days", "30");
});
after(() => ca.close());

async function operationOf(name) {
  const poller = await certificates.getCertificateOperation(name, quick);
  return poller.getOperationState().certificateOperation;
}
async function mergeInto(name) {
  ca.write("csr.der", Buffer.from((await operationOf(name)).csr));
  ca.openssl("x509", "-req", "-inform", "DER", "-in", "csr.der", "-CA", "ca.pem", "-CAkey", "ca.key",
    "-days", "9", "-outform", "DER", "-out", "leaf.der");
  return certificates.mergeCertificate(name, [ca.read("leaf.der")]);
}

test("polling: a deletion is over when it is answered", async () => {
  const { name } = await keys.createEcKey(fresh("poll"));
  const poller = await keys.beginDeleteKey(name, quick);
  assert.equal(poller.isDone(), true);
  const deleted = poller.getResult();
  assert.equal(deleted.name, name);
  assert.ok(deleted.properties.deletedOn);
  assert.equal((await poller.pollUntilDone()).id, deleted.id);
  await keys.purgeDeletedKey(name);
});

test("polling: what is deleted is not deleted again", async () => {
  const { name } = await secrets.setSecret(fresh("poll"), "v");
  await (await secrets.beginDeleteSecret(name, quick)).pollUntilDone();
  await refused(secrets.beginDeleteSecret(name, quick), 404, "SecretNotFound");
});

test("polling: a recovery asks first, and leaves what is live alone", async () => {
  const wire = new Wire();
  const client = new SecretClient(url, credential, wire.options);
  const made = await client.setSecret(fresh("poll"), "v");
  const poller = await client.beginRecoverDeletedSecret(made.name, quick);
  assert.equal(poller.isDone(), true);
  assert.ok(!wire.seen.some((one) => one.path.includes("/recover")));
  await (await client.beginDeleteSecret(made.name, quick)).pollUntilDone();
  const back = await (await client.beginRecoverDeletedSecret(made.name, quick)).pollUntilDone();
  assert.equal(back.version, made.properties.version);
  assert.equal(wire.seen.filter((one) => one.path.endsWith("/recover")).length, 1);
});

test("polling: what never was is not recovered", async () => {
  await refused(keys.beginRecoverDeletedKey(fresh("never"), quick), 404, "KeyNotFound");
  await refused(secrets.beginRecoverDeletedSecret(fresh("never"), quick), 404, "SecretNotFound");
  await refused(certificates.beginRecoverDeletedCertificate(fresh("never"), quick), 404, "CertificateNotFound");
});

test("polling: a deletion is resumed from its state", async () => {
  const { name } = await keys.createEcKey(fresh("resume"));
  const first = await keys.beginDeleteKey(name, quick);
  const again = await keys.beginDeleteKey(name, { ...quick, resumeFrom: first.toString() });
  assert.equal((await again.pollUntilDone()).name, name);
});

test("polling: an order waits for its merge, and the poller ends with it", async () => {
  const name = fresh("waits");
  const poller = await certificates.beginCreateCertificate(name, unknown(name), quick);
  await poller.poll();
  assert.equal(poller.isDone(), false);
  assert.equal((await operationOf(name)).status, "inProgress");
  const merged = await mergeInto(name);
  const done = await poller.pollUntilDone();
  assert.equal(done.properties.version, merged.properties.version);
  assert.deepEqual(done.cer, merged.cer);
});

test("polling: an order is resumed from its state", async () => {
  const name = fresh("resume");
  const first = await certificates.beginCreateCertificate(name, unknown(name), quick);
  await mergeInto(name);
  const again = await certificates.beginCreateCertificate(name, unknown(name),
    { ...quick, resumeFrom: first.toString() });
  assert.equal((await again.pollUntilDone()).name, name);
  assert.equal((await all(certificates.listPropertiesOfCertificateVersions(name))).length, 1);
});

test("polling: a first order that waits has a certificate without content", async () => {
  const name = fresh("empty");
  await certificates.beginCreateCertificate(name, unknown(name), quick);
  const certificate = await certificates.getCertificate(name);
  assert.equal(certificate.name, name);
  assert.equal(certificate.cer, undefined);
  assert.equal(certificate.keyId, undefined);
  assert.equal(certificate.secretId, undefined);
  assert.equal(certificate.properties.enabled, false);
  assert.equal(certificate.policy.subject, `CN=${name}`);
  await refused(secrets.getSecret(name), 404, "SecretNotFound");
  const listed = (await all(certificates.listPropertiesOfCertificates())).map((item) => item.name);
  assert.ok(!listed.includes(name));
});

test("polling: a cancelled order ends, and its certificate can still be read", async () => {
  const name = fresh("cancel");
  const poller = await certificates.beginCreateCertificate(name, unknown(name), quick);
  const operation = await certificates.getCertificateOperation(name, quick);
  await operation.cancelOperation();
  assert.equal((await operationOf(name)).status, "cancelled");
  assert.equal((await operationOf(name)).cancellationRequested, true);
  const ended = await poller.pollUntilDone();
  assert.equal(ended.name, name);
  assert.equal(ended.cer, undefined);
  assert.equal((await certificates.getCertificate(name)).name, name);
});

test("polling: after a cancelled order the next one is taken", async () => {
  const name = fresh("next");
  await certificates.beginCreateCertificate(name, unknown(name), quick);
  await (await certificates.getCertificateOperation(name, quick)).cancelOperation();
  const policy = { issuerName: "Self", subject: `CN=${name}` };
  const made = await (await certificates.beginCreateCertificate(name, policy, quick)).pollUntilDone();
  assert.ok(made.cer.length > 0);
});

test("polling: while an order waits, another one, an import and a deletion of the operation", async () => {
  const name = fresh("busy");
  await certificates.beginCreateCertificate(name, unknown(name), quick);
  await refused(certificates.beginCreateCertificate(name, unknown(name), quick), 409, "Forbidden");
  ca.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=i", "-keyout", "i.key",
    "-out", "i.pem", "-days", "3");
  const file = Buffer.concat([ca.read("i.key"), ca.read("i.pem")]);
  await refused(certificates.importCertificate(name, file), 409, "Forbidden");
  const dropped = await certificates.deleteCertificateOperation(name);
  assert.equal(dropped.name, name);
  await refused(certificates.getCertificateOperation(name), 404, "PendingCertificateNotFound");
  assert.ok((await certificates.importCertificate(name, file)).cer);
});

test("polling: an issued certificate stays current while a new order waits", async () => {
  const name = fresh("stays");
  const policy = { issuerName: "Self", subject: `CN=${name}` };
  const first = await (await certificates.beginCreateCertificate(name, policy, quick)).pollUntilDone();
  await certificates.beginCreateCertificate(name, unknown(name), quick);
  assert.equal((await certificates.getCertificate(name)).properties.version, first.properties.version);
  assert.ok((await secrets.getSecret(name)).value);
  const merged = await mergeInto(name);
  assert.notEqual(merged.properties.version, first.properties.version);
  assert.equal((await certificates.getCertificate(name)).properties.version, merged.properties.version);
});

test("polling: a deleted certificate comes back with its versions and policy", async () => {
  const name = fresh("back");
  const policy = { issuerName: "Self", subject: `CN=${name}`, validityInMonths: 4 };
  for (let i = 0; i < 2; i++) await (await certificates.beginCreateCertificate(name, policy, quick)).pollUntilDone();
  const deleted = await (await certificates.beginDeleteCertificate(name, quick)).pollUntilDone();
  assert.equal(deleted.policy.validityInMonths, 4);
  const listed = await all(certificates.listDeletedCertificates());
  assert.ok(listed.some((item) => item.name === name && item.scheduledPurgeDate > item.deletedOn));
  await (await certificates.beginRecoverDeletedCertificate(name, quick)).pollUntilDone();
  assert.equal((await all(certificates.listPropertiesOfCertificateVersions(name))).length, 2);
  assert.equal((await certificates.getCertificatePolicy(name)).validityInMonths, 4);
});

test("polling: an order under the name of somebody's secret is refused", async () => {
  const { name } = await secrets.setSecret(fresh("taken"), "v");
  const order = certificates.beginCreateCertificate(name, { issuerName: "Self", subject: "CN=a" }, quick);
  await assert.rejects(order, (error) => error.statusCode === 409 || error.statusCode === 400);
  assert.equal((await secrets.getSecret(name)).value, "v");
});

// A secret that takes the name while the order runs: the order cannot end well. Which of
// them is first is chance, so it is tried with several names.
test("polling: a failed order tells why, and its certificate can still be read", async () => {
  const policy = {
    issuerParameters: { name: "Self" }, keyProperties: { keyType: "RSA", keySize: 4096 },
    x509CertificateProperties: { subject: "CN=a" },
  };
  let failed;
  for (let i = 0; i < 20 && !failed; i++) {
    const name = fresh("fail");
    const ordered = certificates.client.createCertificate(name, { certificatePolicy: policy })
      .then(() => true, () => false);
    let taken = false;
    for (let n = 0; n < 200 && !taken; n++) {
      taken = await secrets.setSecret(name, "v").then(() => true, () => false);
      if (await Promise.race([ordered, Promise.resolve(null)]) === false) break;
    }
    if (!(await ordered) || !taken) continue;
    let operation;
    do operation = await certificates.client.getCertificateOperation(name);
    while (operation.status === "inProgress");
    if (operation.status === "failed") failed = { name, operation };
  }
  assert.ok(failed, "one order fails");
  assert.match(failed.operation.error.message, /belongs to a secret/);
  assert.equal(failed.operation.target, undefined);
  await assert.rejects(certificates.getCertificateOperation(failed.name), /belongs to a secret/);
  const certificate = await certificates.getCertificate(failed.name);
  assert.equal(certificate.cer, undefined);
  assert.equal((await secrets.getSecret(failed.name)).value, "v");
});
