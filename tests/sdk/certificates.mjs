// CertificateClient with the issuer Self and with files that come from elsewhere; the
// key and the secret that each certificate has; and what Node.js thinks of all three.
import assert from "node:assert/strict";
import { createPrivateKey, verify as nodeVerify, X509Certificate } from "node:crypto";
import { after, test } from "node:test";
import { CertificateClient, parseKeyVaultCertificateIdentifier } from "@azure/keyvault-certificates";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import {
  all, Credential, credential, fresh, isVersion, refused, seconds, url, Workshop,
} from "./vault.mjs";

const client = new CertificateClient(url, credential);
const keys = new KeyClient(url, credential);
const secrets = new SecretClient(url, credential);
const shop = new Workshop();
after(() => shop.close());
const pkcs12 = "application/x-pkcs12";
const pem = "application/x-pem-file";
const message = Buffer.from("signed with the key of a certificate");

const self = (cn, more = {}) => ({ issuerName: "Self", subject: `CN=${cn}`, ...more });

async function create(name, policy, options = {}) {
  const poller = await client.beginCreateCertificate(name, policy, { intervalInMs: 50, ...options });
  const certificate = await poller.pollUntilDone();
  assert.equal(poller.isDone(), true);
  return certificate;
}

// Name and version of certificate, key and secret agree.
function isOne(certificate, name) {
  const { version } = certificate.properties;
  assert.match(version, isVersion);
  assert.equal(certificate.name, name);
  assert.equal(certificate.properties.id, `${url}/certificates/${name}/${version}`);
  assert.equal(certificate.keyId, `${url}/keys/${name}/${version}`);
  assert.equal(certificate.secretId, `${url}/secrets/${name}/${version}`);
  return new X509Certificate(Buffer.from(certificate.cer));
}

// What a secret holds, by content type: the key, or null, and the certificates.
async function opened(name, version) {
  const { value, properties } = await secrets.getSecret(name, version && { version });
  let text = value;
  if (properties.contentType === pkcs12) {
    shop.write("secret.pfx", Buffer.from(value, "base64"));
    text = shop.openssl("pkcs12", "-in", "secret.pfx", "-nodes", "-passin", "pass:").toString();
  }
  const key = text.match(/-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/);
  const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return {
    properties,
    key: key && createPrivateKey(key[0]),
    chain: certificates.map((one) => new X509Certificate(one)),
  };
}

test("certificates: the issuer Self, with the contract's defaults", async () => {
  const name = fresh("self");
  const made = await create(name, self("defaults.example.com"));
  const x509 = isOne(made, name);
  assert.equal(x509.subject, "CN=defaults.example.com");
  assert.equal(x509.issuer, x509.subject);
  assert.ok(x509.verify(x509.publicKey), "its own key signed it");
  assert.equal(x509.publicKey.asymmetricKeyType, "rsa");
  assert.equal(x509.publicKey.asymmetricKeyDetails.modulusLength, 2048);
  assert.equal(x509.ca, false);
  assert.deepEqual(x509.keyUsage, ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
  assert.equal(made.properties.x509ThumbprintString.toUpperCase(),
    x509.fingerprint.replaceAll(":", ""));
  assert.equal(seconds(made.properties.notBefore), Date.parse(x509.validFrom) / 1000);
  assert.equal(seconds(made.properties.expiresOn), Date.parse(x509.validTo) / 1000);
  const days = (made.properties.expiresOn - Date.now()) / 86400e3;
  assert.ok(days > 364 && days < 367, `${days} days`);
  assert.equal(made.properties.enabled, true);
  assert.equal(made.properties.recoverableDays, 90);

  const { policy } = made;
  assert.equal(policy.issuerName, "Self");
  assert.equal(policy.subject, "CN=defaults.example.com");
  assert.equal(policy.keyType, "RSA");
  assert.equal(policy.keySize, 2048);
  assert.equal(policy.exportable, true);
  assert.equal(policy.reuseKey, false);
  assert.equal(policy.contentType, pkcs12);
  assert.equal(policy.validityInMonths, 12);
  assert.deepEqual([...policy.keyUsage].sort(), ["digitalSignature", "keyEncipherment"]);
  assert.deepEqual([...policy.enhancedKeyUsage], ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
  assert.deepEqual(policy.lifetimeActions.map((one) => ({ ...one })),
    [{ action: "AutoRenew", daysBeforeExpiry: undefined, lifetimePercentage: 80 }]);
});

for (const [label, options, type, detail] of [
  ["RSA 3072", { keyType: "RSA", keySize: 3072 }, "rsa", { modulusLength: 3072 }],
  ["EC P-256", { keyType: "EC", keyCurveName: "P-256" }, "ec", { namedCurve: "prime256v1" }],
  ["EC P-384", { keyType: "EC", keyCurveName: "P-384" }, "ec", { namedCurve: "secp384r1" }],
  ["EC P-521", { keyType: "EC", keyCurveName: "P-521" }, "ec", { namedCurve: "secp521r1" }],
]) {
  test(`certificates: Self with ${label}`, async () => {
    const name = fresh("type");
    const policy = self("type.example.com", { ...options, keyUsage: ["digitalSignature"] });
    const x509 = isOne(await create(name, policy), name);
    assert.equal(x509.publicKey.asymmetricKeyType, type);
    for (const [member, value] of Object.entries(detail)) {
      assert.equal(x509.publicKey.asymmetricKeyDetails[member], value);
    }
    assert.ok(x509.verify(x509.publicKey));
    const { key, chain } = await opened(name);
    assert.ok(x509.checkPrivateKey(key), "the secret holds its key");
    assert.equal(chain[0].fingerprint256, x509.fingerprint256);
  });
}

test("certificates: a whole policy comes back, and stands in the certificate", async () => {
  const name = fresh("policy");
  const wanted = {
    issuerName: "Self",
    subject: "CN=www.example.com, O=\"Example, Inc.\", C=DE",
    subjectAlternativeNames: {
      dnsNames: ["www.example.com", "*.shop.example.com"],
      emails: ["admin@example.com"],
      userPrincipalNames: ["admin@corp.example.com"],
      uniformResourceIdentifiers: ["https://example.com/service"],
      ipAddresses: ["192.0.2.7", "2001:db8::7"],
    },
    keyType: "RSA",
    keySize: 2048,
    reuseKey: false,
    exportable: true,
    contentType: pem,
    keyUsage: ["digitalSignature", "dataEncipherment"],
    enhancedKeyUsage: ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.4"],
    validityInMonths: 27,
    lifetimeActions: [{ action: "EmailContacts", daysBeforeExpiry: 20 }],
  };
  const made = await create(name, wanted, { tags: { "größe": "1" } });
  const policy = await client.getCertificatePolicy(name);
  for (const [member, value] of Object.entries(wanted)) {
    if (member === "lifetimeActions" || member === "subjectAlternativeNames") continue;
    assert.deepEqual(JSON.parse(JSON.stringify(policy[member])), value, member);
  }
  for (const [kind, names] of Object.entries(wanted.subjectAlternativeNames)) {
    assert.deepEqual([...policy.subjectAlternativeNames[kind]], names, kind);
  }
  assert.equal(policy.lifetimeActions.length, 1);
  assert.equal(policy.lifetimeActions[0].action, "EmailContacts");
  assert.equal(policy.lifetimeActions[0].daysBeforeExpiry, 20);
  assert.deepEqual(policy, made.policy);
  assert.deepEqual({ ...made.properties.tags }, { "größe": "1" });

  const x509 = isOne(made, name);
  assert.match(x509.subject, /CN=www\.example\.com/);
  assert.match(x509.subject, /O=Example\\?, Inc\./);
  const names = x509.subjectAltName;
  for (const one of ["DNS:www.example.com", "DNS:*.shop.example.com", "email:admin@example.com",
    "URI:https://example.com/service", "IP Address:192.0.2.7", "IP Address:2001:DB8:0:0:0:0:0:7"]) {
    assert.ok(names.includes(one), `${one} in ${names}`);
  }
  assert.ok(x509.checkHost("a.shop.example.com"));
  assert.ok(x509.checkIP("192.0.2.7"));
  assert.deepEqual(x509.keyUsage, wanted.enhancedKeyUsage);
  const key = await keys.getKey(name);
  assert.deepEqual([...key.keyOperations].sort(), ["decrypt", "encrypt", "sign", "verify"]);
});

test("certificates: the operation is read while and after it runs", async () => {
  const name = fresh("operation");
  const made = await create(name, self("operation.example.com"));
  const poller = await client.getCertificateOperation(name, { intervalInMs: 50 });
  const operation = poller.getOperationState().certificateOperation;
  assert.equal(operation.name, name);
  assert.equal(operation.issuerName, "Self");
  assert.equal(operation.status, "completed");
  assert.equal(operation.cancellationRequested, false);
  assert.equal(operation.error, undefined);
  assert.match(operation.requestId, isVersion);
  assert.equal(operation.id, `${url}/certificates/${name}/pending`);
  assert.equal(operation.target, `${url}/certificates/${name}`);
  shop.write("request.der", Buffer.from(operation.csr));
  const said = shop.openssl("req", "-in", "request.der", "-inform", "DER", "-noout", "-subject");
  assert.match(said.toString(), /CN ?= ?operation\.example\.com/);
  assert.equal(poller.isDone(), true);
  assert.equal(poller.getResult().properties.id, made.properties.id);
});

test("certificates: the current one and each version are read alike", async () => {
  const name = fresh("read");
  const made = await create(name, self("read.example.com"), { tags: { a: "b" } });
  const current = await client.getCertificate(name);
  assert.deepEqual(current, made);
  const byVersion = await client.getCertificateVersion(name, made.properties.version);
  assert.deepEqual(byVersion.properties, made.properties);
  assert.deepEqual(byVersion.cer, made.cer);
});

test("certificates: a second order is a new version with a new key; the first one stays", async () => {
  const name = fresh("versions");
  const first = await create(name, self("one.example.com"));
  const second = await create(name, self("two.example.com", { keyType: "EC", keyCurveName: "P-256" }));
  assert.notEqual(first.properties.version, second.properties.version);
  assert.equal((await client.getCertificate(name)).properties.id, second.properties.id);
  const old = await client.getCertificateVersion(name, first.properties.version);
  assert.deepEqual(old.cer, first.cer);
  assert.equal(old.keyId, first.keyId);
  const listed = await all(client.listPropertiesOfCertificateVersions(name));
  assert.deepEqual(listed.map((p) => p.id).sort(),
    [first.properties.id, second.properties.id].sort());
  for (const properties of listed) {
    const one = [first, second].find((made) => made.properties.id === properties.id);
    assert.equal(properties.x509ThumbprintString, one.properties.x509ThumbprintString);
    assert.deepEqual(properties.expiresOn, one.properties.expiresOn);
  }
  assert.equal((await client.getCertificatePolicy(name)).subject, "CN=two.example.com");
  const older = await opened(name, first.properties.version);
  assert.ok(new X509Certificate(Buffer.from(first.cer)).checkPrivateKey(older.key));
});

test("certificates: the list has each certificate once, and new orders when asked", async () => {
  const names = [fresh("list"), fresh("list"), fresh("list")];
  for (const name of names) await create(name, self(`${name}.example.com`), { tags: { name } });
  const listed = await all(client.listPropertiesOfCertificates());
  for (const name of names) {
    const found = listed.filter((properties) => properties.name === name);
    assert.equal(found.length, 1, name);
    assert.equal(found[0].id, `${url}/certificates/${name}`);
    assert.equal(parseKeyVaultCertificateIdentifier(found[0].id).version, undefined);
    assert.deepEqual({ ...found[0].tags }, { name });
    assert.ok(found[0].x509Thumbprint.length === 20);
  }
  const waiting = fresh("pending");
  await client.beginCreateCertificate(waiting, self("pending.example.com"));
  const more = await all(client.listPropertiesOfCertificates({ includePending: true }));
  assert.ok(more.some((properties) => properties.name === waiting));
  for (const name of names) assert.ok(more.some((properties) => properties.name === name));
});

test("certificates: thirty of them are listed over pages", async () => {
  const names = Array.from({ length: 30 }, () => fresh("page"));
  const policy = self("page.example.com", { keyType: "EC", keyUsage: ["digitalSignature"] });
  for (const name of names) await create(name, policy);
  const listed = (await all(client.listPropertiesOfCertificates())).map((p) => p.name);
  for (const name of names) assert.equal(listed.filter((one) => one === name).length, 1);
});

// --- the key and the secret of a certificate

test("certificates: the managed key signs, decrypts and unwraps for CryptographyClient", async () => {
  const name = fresh("managed");
  const made = await create(name, self("managed.example.com", {
    keyUsage: ["digitalSignature", "keyEncipherment", "dataEncipherment"],
  }));
  const x509 = isOne(made, name);
  const key = await keys.getKey(name);
  assert.equal(key.id, made.keyId);
  assert.equal(key.properties.managed, true);
  const crypto = new CryptographyClient(made.keyId, credential);
  const signed = await crypto.signData("RS256", message);
  assert.ok(nodeVerify("sha256", message, x509.publicKey, signed.result));
  assert.equal((await crypto.verifyData("RS256", message, signed.result)).result, true);
  const encrypted = await crypto.encrypt("RSA-OAEP-256", message);
  assert.deepEqual(Buffer.from((await crypto.decrypt("RSA-OAEP-256", encrypted.result)).result), message);
  const wrapped = await crypto.wrapKey("RSA-OAEP", message.subarray(0, 32));
  assert.deepEqual(Buffer.from((await crypto.unwrapKey("RSA-OAEP", wrapped.result)).result),
    message.subarray(0, 32));
  assert.ok((await all(keys.listPropertiesOfKeys()))
    .some((properties) => properties.name === name && properties.managed === true));
});

test("certificates: the managed key of a P-256 certificate signs as its certificate says", async () => {
  const name = fresh("managed");
  const made = await create(name, self("ec.example.com", {
    keyType: "EC", keyCurveName: "P-256", keyUsage: ["digitalSignature"],
  }));
  const signed = await new CryptographyClient(made.keyId, credential).signData("ES256", message);
  const x509 = isOne(made, name);
  const outside = { key: x509.publicKey, dsaEncoding: "ieee-p1363" };
  assert.ok(nodeVerify("sha256", message, outside, signed.result));
});

for (const contentType of [pkcs12, pem]) {
  test(`certificates: the managed secret is ${contentType} with key and certificate`, async () => {
    const name = fresh("secret");
    const made = await create(name, self("secret.example.com", { contentType }));
    const x509 = isOne(made, name);
    const { key, chain, properties } = await opened(name);
    assert.equal(properties.contentType, contentType);
    assert.equal(properties.managed, true);
    assert.equal(properties.certificateKeyId.toString(), made.keyId);
    assert.equal(properties.version, made.properties.version);
    assert.equal(chain.length, 1);
    assert.equal(chain[0].fingerprint256, x509.fingerprint256);
    assert.ok(x509.checkPrivateKey(key));
  });

  test(`certificates: a key that is not exportable stays out of ${contentType}`, async () => {
    const name = fresh("inside");
    const policy = self("inside.example.com", { contentType, exportable: false });
    const x509 = isOne(await create(name, policy), name);
    const { key, chain } = await opened(name);
    assert.equal(key, null);
    assert.equal(chain[0].fingerprint256, x509.fingerprint256);
    const signed = await keys.getCryptographyClient(name).signData("RS256", message);
    assert.ok(nodeVerify("sha256", message, x509.publicKey, signed.result));
  });
}

test("certificates: what is managed cannot be overwritten by its own kind", async () => {
  const name = fresh("guard");
  const made = await create(name, self("guard.example.com"));
  await refused(secrets.setSecret(name, "other"), 403, "Forbidden", /belongs to the certificate/);
  await refused(keys.createRsaKey(name), 403, "Forbidden", /belongs to the certificate/);
  assert.equal((await keys.getKey(name)).id, made.keyId);
  assert.ok((await opened(name)).key);
});

// --- import

// A CA and a leaf that it signed, as files of the workshop.
function leaf(label, newkey = ["rsa:2048"]) {
  const cn = `${label}.example.com`;
  shop.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key",
    "-out", "ca.crt", "-days", "30", "-subj", "/CN=Test CA", "-addext", "basicConstraints=critical,CA:TRUE");
  shop.openssl("req", "-newkey", ...newkey, "-nodes", "-keyout", `${label}.key`,
    "-out", `${label}.csr`, "-subj", `/CN=${cn}`, "-addext", `subjectAltName=DNS:${cn}`);
  shop.write("extensions", `subjectAltName=DNS:${cn}\nkeyUsage=digitalSignature,keyEncipherment\n`
    + "extendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n");
  shop.openssl("x509", "-req", "-in", `${label}.csr`, "-CA", "ca.crt", "-CAkey", "ca.key",
    "-CAcreateserial", "-out", `${label}.crt`, "-days", "20", "-extfile", "extensions");
  return new X509Certificate(shop.read(`${label}.crt`));
}
function pfx(label, password) {
  shop.openssl("pkcs12", "-export", "-inkey", `${label}.key`, "-in", `${label}.crt`,
    "-certfile", "ca.crt", "-out", `${label}.pfx`, "-passout", `pass:${password}`);
  return shop.read(`${label}.pfx`);
}
const pemFile = (label) => Buffer.concat(
  [shop.read(`${label}.key`), shop.read(`${label}.crt`), shop.read("ca.crt")]);

for (const [label, password] of [["without", ""], ["with", "pass wörd"]]) {
  test(`certificates: import PKCS #12 ${label} a password`, async () => {
    const name = fresh("pfx");
    const x509 = leaf("pfx");
    const options = { tags: { from: "openssl" }, ...(password && { password }) };
    const made = await client.importCertificate(name, pfx("pfx", password), options);
    assert.equal(isOne(made, name).fingerprint256, x509.fingerprint256);
    assert.equal(made.policy.contentType, pkcs12);
    assert.equal(made.policy.subject, "CN=pfx.example.com");
    assert.deepEqual([...made.policy.subjectAlternativeNames.dnsNames], ["pfx.example.com"]);
    assert.equal(made.policy.keyType, "RSA");
    assert.deepEqual({ ...made.properties.tags }, { from: "openssl" });
    const { key, chain } = await opened(name);
    assert.ok(x509.checkPrivateKey(key), "the secret opens without a password");
    assert.deepEqual(chain.map((one) => one.subject), ["CN=pfx.example.com", "CN=Test CA"]);
    const signed = await keys.getCryptographyClient(name).signData("PS256", message);
    assert.equal(signed.keyID, made.keyId);
    assert.deepEqual(await client.getCertificate(name), made);
  });
}

for (const [label, newkey, algorithm] of [
  ["RSA", ["rsa:3072"], "RS256"],
  ["EC P-256", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "ES256"],
]) {
  test(`certificates: import PEM with an ${label} key`, async () => {
    const name = fresh("pem");
    const x509 = leaf("pem", newkey);
    const made = await client.importCertificate(name, pemFile("pem"), { policy: { contentType: pem } });
    assert.equal(isOne(made, name).fingerprint256, x509.fingerprint256);
    assert.equal(made.policy.contentType, pem);
    const { key, chain, properties } = await opened(name);
    assert.equal(properties.contentType, pem);
    assert.ok(x509.checkPrivateKey(key));
    assert.equal(chain.length, 2);
    const signed = await keys.getCryptographyClient(name).signData(algorithm, message);
    const outside = { key: x509.publicKey, dsaEncoding: "ieee-p1363" };
    assert.ok(nodeVerify("sha256", message, outside, signed.result));
  });
}

test("certificates: PEM bytes that the SDK wraps in base64 are seen for what they are", async () => {
  const name = fresh("wrapped");
  const x509 = leaf("wrapped");
  const made = await client.importCertificate(name, pemFile("wrapped"));
  assert.equal(isOne(made, name).fingerprint256, x509.fingerprint256);
});

test("certificates: an import onto a name is its next version", async () => {
  const name = fresh("next");
  const first = await create(name, self("next.example.com"));
  leaf("next");
  const second = await client.importCertificate(name, pfx("next", ""));
  assert.notEqual(second.properties.version, first.properties.version);
  assert.equal((await client.getCertificate(name)).properties.id, second.properties.id);
  const versions = await all(client.listPropertiesOfCertificateVersions(name));
  assert.equal(versions.length, 2);
});

test("certificates: with reuseKey the next version keeps the key, without it gets another", async () => {
  const name = fresh("reuse");
  const first = await create(name, self("reuse.example.com", { keyType: "EC", reuseKey: true }));
  assert.equal((await client.getCertificatePolicy(name)).reuseKey, true);
  const second = await create(name, self("reuse.example.com", { keyType: "EC", reuseKey: true }));
  assert.notEqual(second.properties.version, first.properties.version);
  const [one, two] = [first, second].map((made) => isOne(made, name));
  assert.ok(one.publicKey.equals(two.publicKey));
  assert.notEqual(one.serialNumber, two.serialNumber);
  const third = isOne(await create(name, self("reuse.example.com", { keyType: "EC" })), name);
  assert.ok(!third.publicKey.equals(two.publicKey));
  const { key } = await opened(name, second.properties.version);
  assert.ok(two.checkPrivateKey(key));
});

test("certificates: with an expired one its key and its secret end", async () => {
  const name = fresh("expired");
  leaf("expired");
  shop.openssl("x509", "-req", "-in", "expired.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
    "-set_serial", "77", "-days", "-1", "-out", "expired.crt");
  await client.importCertificate(name, pfx("expired", ""));
  assert.equal((await client.getCertificate(name)).name, name);
  assert.equal((await keys.getKey(name)).name, name);
  await refused(secrets.getSecret(name), 403, "Forbidden", /expired on/);
  const value = Buffer.alloc(32, 1);
  const signature = Buffer.alloc(256, 1);
  await refused(keys.client.sign(name, "", { algorithm: "RS256", value }), 403, "Forbidden", /expired on/);
  await refused(keys.client.verify(name, "", { algorithm: "RS256", digest: value, signature }),
    403, "Forbidden", /expired on/);
});

test("certificates: imports that cannot be are refused", async () => {
  leaf("bad");
  const wrong = client.importCertificate(fresh("bad"), pfx("bad", "right"), { password: "wrong" });
  await refused(wrong, 400, "BadParameter");
  await refused(client.importCertificate(fresh("bad"), shop.read("bad.crt"),
    { policy: { contentType: pem } }), 400, "BadParameter");
  await refused(client.importCertificate(fresh("bad"), Buffer.from("no certificate")),
    400, "BadParameter");
  const key = shop.read("ca.key");
  const mixed = Buffer.concat([key, shop.read("bad.crt")]);
  await refused(client.importCertificate(fresh("bad"), mixed, { policy: { contentType: pem } }),
    400, "BadParameter");
});

test("certificates: errors have the contract's status and code", async () => {
  const none = fresh("none");
  await refused(client.getCertificate(none), 404, "CertificateNotFound");
  await refused(client.getCertificatePolicy(none), 404, "CertificateNotFound");
  const imported = fresh("imported");
  leaf("imported");
  await client.importCertificate(imported, pfx("imported", ""));
  await refused(client.getCertificateOperation(imported), 404, "PendingCertificateNotFound");
  const name = fresh("once");
  await create(name, self("once.example.com"));
  await refused(client.getCertificateVersion(name, "f".repeat(32)), 404, "CertificateNotFound");
  const bad = (policy) => refused(
    client.beginCreateCertificate(fresh("bad"), policy), 400, "BadParameter");
  await bad({ issuerName: "Self" });
  await bad({ issuerName: "nobody", subject: "CN=a" });
  await bad(self("a", { keySize: 1024 }));
  await bad(self("a", { keyType: "EC", keyCurveName: "P-192" }));
  await bad(self("a", { validityInMonths: 0.5 }));
  await bad(self("a", { validityInMonths: 9999 }));
  await bad(self("a", { keyUsage: ["flying"] }));
  await bad(self("a", { enhancedKeyUsage: ["not an oid"] }));
  await bad(self("a", { contentType: "text/plain" }));
  await bad(self("a", { lifetimeActions: [{ action: "AutoRenew", lifetimePercentage: 100 }] }));
  await bad({ issuerName: "Self", subject: "no X.500 name" });
  await refused(client.beginCreateCertificate("bad_name", self("a")), 400, "BadParameter");
  const stranger = new CertificateClient(url, new Credential("no-token"));
  await refused(stranger.getCertificate(name), 401, "Unauthorized");
});
