// Changes of what is said of objects, through the three clients.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { credential, fresh, inDays, refused, seconds, url } from "./vault.mjs";

const keys = new KeyClient(url, credential);
const secrets = new SecretClient(url, credential);
const certificates = new CertificateClient(url, credential);

test("updates: a secret's tags, dates and content type", async () => {
  const name = fresh("secret");
  const set = await secrets.setSecret(name, "v", { tags: { a: "1" } });
  const expiresOn = inDays(9);
  const changed = await secrets.updateSecretProperties(name, set.properties.version,
    { contentType: "text/plain", expiresOn, tags: { b: "2" } });
  assert.equal(changed.contentType, "text/plain");
  assert.deepEqual({ ...changed.tags }, { b: "2" });
  const read = await secrets.getSecret(name);
  assert.equal(read.value, "v");
  assert.equal(seconds(read.properties.expiresOn), seconds(expiresOn));
  await secrets.updateSecretProperties(name, set.properties.version, { enabled: false });
  await refused(secrets.getSecret(name), 403, "Forbidden", /disabled/);
});

test("updates: a key's operations", async () => {
  const name = fresh("key");
  const made = await keys.createRsaKey(name, { keyOps: ["sign", "verify"] });
  const changed = await keys.updateKeyProperties(name, made.properties.version,
    { keyOps: ["verify"], tags: { t: "1" }, enabled: true });
  assert.deepEqual(changed.keyOperations, ["verify"]);
  assert.deepEqual(changed.key.n, made.key.n);
  const raw = new CryptographyClient(made, credential);
  await refused(raw.signData("RS256", Buffer.from("x")), 403, "Forbidden", /operation/);
  const again = await keys.updateKeyProperties(name, { keyOps: ["sign", "verify"] });
  assert.deepEqual(again.keyOperations, ["sign", "verify"]);
  assert.deepEqual({ ...again.properties.tags }, { t: "1" });
});

test("updates: a certificate, its key and its secret", async () => {
  const name = fresh("cert");
  const poller = await certificates.beginCreateCertificate(name,
    { issuerName: "Self", subject: `CN=${name}` });
  const made = await poller.pollUntilDone();
  const changed = await certificates.updateCertificateProperties(name,
    made.properties.version, { enabled: false, tags: { team: "web" } });
  assert.equal(changed.properties.enabled, false);
  assert.equal((await keys.getKey(name)).properties.enabled, false);
  assert.deepEqual({ ...(await keys.getKey(name)).properties.tags }, { team: "web" });
  await refused(secrets.getSecret(name), 403, "Forbidden", /disabled/);
  await certificates.updateCertificateProperties(name, made.properties.version, { enabled: true });
  assert.ok((await secrets.getSecret(name)).value);
});

test("updates: a policy", async () => {
  const name = fresh("policy");
  const poller = await certificates.beginCreateCertificate(name,
    { issuerName: "Self", subject: `CN=${name}`, keyType: "EC", keyCurveName: "P-256" });
  await poller.pollUntilDone();
  // What the client returns is empty, whatever the reply was.
  await certificates.updateCertificatePolicy(name,
    { issuerName: "Self", subject: "CN=next", validityInMonths: 7 });
  const changed = await certificates.getCertificatePolicy(name);
  assert.equal(changed.subject, "CN=next");
  assert.equal(changed.validityInMonths, 7);
  assert.equal(changed.keyType, "EC", "what is not named stays");
});

test("updates: a finished operation is not cancelled but can be deleted", async () => {
  const name = fresh("op");
  const poller = await certificates.beginCreateCertificate(name,
    { issuerName: "Self", subject: `CN=${name}` });
  await poller.pollUntilDone();
  const operation = await certificates.getCertificateOperation(name);
  assert.equal(operation.getOperationState().certificateOperation.status, "completed");
  await refused(operation.cancelOperation(), 400, "BadParameter", /ended/);
  await certificates.deleteCertificateOperation(name);
  await refused(certificates.deleteCertificateOperation(name), 404, "PendingCertificateNotFound");
});
