// What the SDK puts on the wire, and what it must find there: the traps of the contract
// that a server written by hand falls into.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import https from "node:https";
import { test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { all, credential, Credential, fresh, refused, url, Wire, Workshop } from "./vault.mjs";

const b64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const b64url = /^[A-Za-z0-9_-]+$/;

// A client of each kind whose requests can be looked at.
function watched(Client, more = {}) {
  const wire = new Wire();
  return { wire, client: new Client(url, new Credential(), { ...wire.options, ...more }) };
}
// One request by hand, with the vault's token unless `token` says otherwise.
function raw(method, path, { body, token = credential.value, headers = {} } = {}) {
  const target = new URL(path, url);
  const sent = { ...headers };
  if (token) sent.Authorization = `Bearer ${token}`;
  if (body !== undefined) sent["Content-Type"] ??= "application/json";
  return new Promise((resolve, reject) => {
    const request = https.request(target, { method, headers: sent }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (data) => { text += data; });
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

for (const [kind, Client, send] of [
  ["setSecret", SecretClient, (client) => client.setSecret(fresh("trap"), "v")],
  ["createKey", KeyClient, (client) => client.createEcKey(fresh("trap"))],
  ["setContacts", CertificateClient, (client) => client.setContacts([{ email: "a@b.c" }])],
]) {
  test(`traps: the first ${kind} comes bare, is challenged, and comes again whole`, async () => {
    const { wire, client } = watched(Client);
    await send(client);
    const [first, second] = wire.seen;
    assert.equal(first.sent.authorization, undefined);
    assert.equal(first.body, null);
    assert.equal(first.status, 401);
    assert.match(first.headers.get("www-authenticate"),
      /^Bearer authorization="https:\/\/[^"]+\/[0-9a-f-]{36}", resource="https:\/\/vault\.localhost"/);
    assert.equal(JSON.parse(first.text).error.code, "Unauthorized");
    assert.match(second.sent.authorization, /^Bearer /);
    assert.ok(second.body.length > 0);
    assert.equal(second.status, 200);
    await send(client);
    assert.equal(wire.seen.length, 3, "a second request carries the token at once");
    if (Client === CertificateClient) await client.deleteContacts();
  });
}

test("traps: the challenge comes before any look at name, body or version", async () => {
  for (const [method, path] of [["GET", "/keys/bad_name/?api-version=7.4"],
    ["PUT", "/secrets/x?api-version=1.0"], ["POST", "/keys/x/create"], ["GET", "/nowhere"],
    ["DELETE", "/certificates/contacts?api-version=2025-07-01"]]) {
    const reply = await raw(method, path, { token: null });
    assert.equal(reply.status, 401, path);
    assert.match(reply.headers["www-authenticate"], /^Bearer /);
    assert.equal(JSON.parse(reply.text).error.code, "Unauthorized");
  }
});

test("traps: the query's name is percent-encoded", async () => {
  const { wire, client } = watched(SecretClient);
  await client.setSecret(fresh("trap"), "v");
  assert.match(wire.last.query, /^\?api%2Dversion=2025-07-01$/);
  assert.equal(wire.last.status, 200);
});

test("traps: an empty segment is the newest version", async () => {
  const { wire, client } = watched(SecretClient);
  const name = fresh("trap");
  await client.setSecret(name, "v");
  await client.getSecret(name);
  assert.equal(wire.last.path, `/secrets/${name}/`);
  const keys = watched(KeyClient);
  const key = await keys.client.createEcKey(name);
  await keys.client.updateKeyProperties(name, { tags: { a: "b" } });
  assert.equal(keys.wire.last.path, `/keys/${name}/`);
  const cryptoWire = new Wire();
  const crypto = new CryptographyClient(`${url}/keys/${name}`, credential, cryptoWire.options);
  const signed = await crypto.sign("ES256", randomBytes(32));
  assert.equal(signed.keyID, key.id);
  assert.equal(cryptoWire.last.path, `/keys/${name}//sign`);
});

test("traps: without a version segment at all, too", async () => {
  const name = fresh("trap");
  await new SecretClient(url, credential).setSecret(name, "v");
  for (const path of [`/secrets/${name}`, `/secrets/${name}/`]) {
    const reply = await raw("GET", `${path}?api-version=7.4`);
    assert.equal(reply.status, 200, path);
    assert.equal(JSON.parse(reply.text).value, "v");
  }
});

test("traps: every failure has a body with code and message", async () => {
  for (const [status, method, path, body] of [
    [404, "GET", "/nowhere?api-version=7.4"], [404, "GET", "/?api-version=7.4"],
    [404, "GET", "/secrets/a/b/c/d/e?api-version=7.4"],
    [405, "PATCH", "/keys?api-version=7.4", "{}"], [405, "PUT", "/deletedkeys/x?api-version=7.4", "{}"],
    [400, "GET", "/keys/n"], [400, "GET", "/keys/n?api-version=8.1"],
    [400, "POST", "/keys/n/create?api-version=7.4", "{"], [400, "POST", "/keys/n/create?api-version=7.4", "[]"],
    [400, "POST", "/keys/n/create?api-version=7.4"], [400, "GET", "/keys?api-version=7.4&maxresults=0"],
    [400, "GET", "/keys?api-version=7.4&maxresults=26"],
    [400, "GET", "/keys?api-version=7.4&%24skiptoken=*"]]) {
    const reply = await raw(method, path, { body });
    assert.equal(reply.status, status, `${method} ${path}: ${reply.text}`);
    const { error } = JSON.parse(reply.text);
    assert.equal(typeof error.code, "string");
    assert.match(error.message, /\w+ \w+/);
    assert.match(reply.headers["content-type"], /^application\/json; ?charset=utf-8$/);
  }
});

test("traps: success codes are exact", async () => {
  const keys = watched(KeyClient);
  const secrets = watched(SecretClient);
  const certificates = watched(CertificateClient);
  const name = fresh("codes");
  const status = async ({ wire }, call) => {
    await call;
    return wire.last.status;
  };
  assert.equal(await status(keys, keys.client.createEcKey(name)), 200);
  assert.equal(await status(keys, keys.client.client.deleteKey(name)), 200);
  assert.equal(await status(keys, keys.client.client.recoverDeletedKey(name)), 200);
  await keys.client.client.deleteKey(name);
  assert.equal(await status(keys, keys.client.purgeDeletedKey(name)), 204);
  assert.equal(keys.wire.last.text ?? "", "");
  const secret = await secrets.client.setSecret(name, "v");
  assert.equal(await status(secrets, secrets.client.updateSecretProperties(name, secret.properties.version, {})), 200);
  await secrets.client.client.deleteSecret(name);
  assert.equal(await status(secrets, secrets.client.purgeDeletedSecret(name)), 204);
  const create = certificates.client.client.createCertificate(name, {
    certificatePolicy: { issuerParameters: { name: "Self" }, x509CertificateProperties: { subject: "CN=a" } },
  });
  assert.equal(await status(certificates, create), 202);
  assert.equal(await status(certificates, certificates.client.getCertificateOperation(name)), 200);
});

test("traps: a created operation says where and when to ask again", async () => {
  const { wire, client } = watched(CertificateClient);
  const name = fresh("location");
  await client.client.createCertificate(name, {
    certificatePolicy: { issuerParameters: { name: "Unknown" }, x509CertificateProperties: { subject: "CN=a" } },
  });
  const location = new URL(wire.last.headers.get("location"));
  assert.equal(location.origin, url);
  assert.equal(location.pathname, `/certificates/${name}/pending`);
  assert.equal(location.searchParams.get("request_id"), wire.json.request_id);
  assert.match(wire.last.headers.get("retry-after"), /^\d+$/);
  const asked = await raw("GET", location.pathname + location.search);
  assert.equal(JSON.parse(asked.text).status, "inProgress");
  const other = await raw("GET", `${location.pathname}?api-version=7.4&request_id=${"0".repeat(32)}`);
  assert.equal(other.status, 404);
  assert.equal(JSON.parse(other.text).error.code, "PendingCertificateNotFound");
});

test("traps: nextLink is absolute, of this host, and carries the api-version", async () => {
  const { wire, client } = watched(SecretClient);
  for (let i = 0; i < 4; i++) await client.setSecret(fresh("link"), "v");
  const pages = client.listPropertiesOfSecrets().byPage({ maxPageSize: 2 });
  await pages.next();
  const link = new URL(wire.json.nextLink);
  assert.equal(link.origin, url);
  assert.equal(link.pathname, "/secrets");
  assert.equal(link.searchParams.get("api-version"), "2025-07-01");
  assert.ok(link.searchParams.get("$skiptoken"));
  assert.ok(Array.isArray(wire.json.value));
  await pages.next();
  assert.equal(wire.last.url, link.href, "it is followed verbatim");
  assert.equal(wire.last.status, 200);
});

test("traps: an empty list is an empty array without nextLink", async () => {
  const { wire, client } = watched(KeyClient);
  assert.deepEqual(await all(client.listPropertiesOfKeyVersions(fresh("none"))), []);
  assert.deepEqual(wire.json.value, []);
  assert.equal(wire.json.nextLink ?? null, null);
});

test("traps: a date after 2038 comes negative and goes back as it was meant", async () => {
  const { wire, client } = watched(SecretClient);
  const expiresOn = new Date("2100-01-01T00:00:00Z");
  const made = await client.setSecret(fresh("late"), "v", { expiresOn });
  assert.equal(JSON.parse(wire.last.body).attributes.exp, -192522496);
  assert.equal(wire.json.attributes.exp, expiresOn / 1000);
  assert.equal(made.properties.expiresOn.getTime(), expiresOn.getTime());
});

for (const day of ["2038-01-19T03:14:07Z", "2038-01-19T03:14:08Z", "2106-02-07T06:28:15Z"]) {
  test(`traps: ${day} survives in a key's notBefore and expiresOn`, async () => {
    const { client } = watched(KeyClient);
    const date = new Date(day);
    const made = await client.createEcKey(fresh("date"), { notBefore: date, expiresOn: date });
    assert.equal(made.properties.notBefore.getTime(), date.getTime());
    assert.equal(made.properties.expiresOn.getTime(), date.getTime());
  });
}

test("traps: an import has no policy on the wire; it is made from the certificate", async () => {
  const shop = new Workshop();
  shop.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "c",
    "-days", "9", "-subj", "/CN=imported.example.com");
  const { wire, client } = watched(CertificateClient);
  const bytes = Buffer.concat([shop.read("k"), shop.read("c")]);
  const made = await client.importCertificate(fresh("import"), bytes, {
    policy: { issuerName: "Self", subject: "CN=ignored" }, enabled: false, tags: { a: "b" },
  });
  const body = JSON.parse(wire.last.body);
  assert.equal(body.policy, undefined);
  assert.deepEqual(body.tags, { a: "b" });
  assert.equal(made.policy.subject, "CN=imported.example.com");
  shop.close();
});

test("traps: standard base64 for certificates and requests, base64url for the rest", async () => {
  const { wire, client } = watched(CertificateClient);
  const name = fresh("base64");
  const poller = await client.beginCreateCertificate(name, { issuerName: "Self", subject: "CN=a" },
    { intervalInMs: 50 });
  await poller.pollUntilDone();
  await client.getCertificate(name);
  const { cer, x5t, kid, sid, id } = wire.json;
  assert.match(cer, b64);
  const der = Buffer.from(cer, "base64");
  assert.equal(x5t, createHash("sha1").update(der).digest("base64url"));
  assert.deepEqual([kid, sid].map((one) => one.split("/").at(-1)), Array(2).fill(id.split("/").at(-1)));
  const asked = wire.seen.findLast((one) => one.path.endsWith("/pending"));
  assert.match(JSON.parse(asked.text).csr, b64);
  const keys = watched(KeyClient);
  await keys.client.getKey(name);
  assert.match(keys.wire.json.key.n, b64url);
  assert.equal(keys.wire.json.key.e, "AQAB");
  assert.doesNotMatch(keys.wire.last.text, /"(d|p|q|dp|dq|qi)":/);
});

test("traps: what the SDK computes by itself never reaches the vault", async () => {
  const wire = new Wire();
  const key = await new KeyClient(url, credential).createRsaKey(fresh("local"));
  const crypto = new CryptographyClient(key, credential, wire.options);
  const encrypted = await crypto.encrypt("RSA-OAEP", Buffer.from("x"));
  await crypto.wrapKey("RSA1_5", randomBytes(16));
  assert.equal(wire.seen.length, 0, "local");
  await crypto.decrypt("RSA-OAEP", encrypted.result);
  assert.match(wire.last.path, /\/decrypt$/);
  const remote = await crypto.encrypt("RSA-OAEP-256", Buffer.from("x"));
  assert.match(wire.last.path, /\/encrypt$/);
  assert.equal(Buffer.from((await crypto.decrypt("RSA-OAEP-256", remote.result)).result).toString(), "x");
});

test("traps: ids have three or four segments, and deleted ones a recovery id", async () => {
  const { wire, client } = watched(KeyClient);
  const name = fresh("ids");
  const segments = (id) => new URL(id).pathname.split("/").length - 1;
  await client.createEcKey(name);
  assert.equal(segments(wire.json.key.kid), 3);
  await all(client.listPropertiesOfKeyVersions(name));
  for (const item of wire.json.value) assert.equal(segments(item.kid), 3);
  await client.client.deleteKey(name);
  assert.equal(wire.json.recoveryId, `${url}/deletedkeys/${name}`);
  await client.purgeDeletedKey(name);
});

test("traps: replies carry the headers of the service", async () => {
  const { wire, client } = watched(SecretClient);
  await client.setSecret(fresh("headers"), "v");
  const { headers, sent } = wire.last;
  assert.match(headers.get("content-type"), /^application\/json; ?charset=utf-8$/);
  assert.match(headers.get("x-ms-request-id"), /^[0-9a-f-]{36}$/);
  assert.equal(headers.get("x-ms-client-request-id"), sent["x-ms-client-request-id"]);
  assert.ok(headers.get("x-ms-keyvault-region"));
  assert.ok(headers.get("x-ms-keyvault-service-version"));
  assert.equal(headers.get("cache-control"), "no-cache");
  assert.equal(headers.get("x-content-type-options"), "nosniff");
});

test("traps: parallel first requests that lose their body are bad parameters, no faults", async () => {
  const client = new SecretClient(url, new Credential(), { retryOptions: { maxRetries: 0 } });
  const name = fresh("race");
  const done = await Promise.allSettled(Array.from({ length: 12 }, (_, i) => client.setSecret(name, `${i}`)));
  for (const one of done) {
    if (one.status === "fulfilled") continue;
    assert.equal(one.reason.statusCode, 400, one.reason.message);
    assert.equal(one.reason.code, "BadParameter");
    assert.match(one.reason.message, /body/i);
  }
  assert.ok((await client.getSecret(name)).value);
});

test("traps: a token and an empty body is a bad parameter", async () => {
  for (const [method, path] of [["PUT", "/secrets/x"], ["POST", "/keys/x/create"],
    ["POST", "/certificates/x/create"], ["PATCH", "/keys/x/"], ["PUT", "/certificates/contacts"]]) {
    const reply = await raw(method, `${path}?api-version=2025-07-01`);
    assert.equal(reply.status, 400, path);
    assert.equal(JSON.parse(reply.text).error.code, "BadParameter");
  }
});

test("traps: deleted contacts are in the reply, though the SDK hides them", async () => {
  const { wire, client } = watched(CertificateClient);
  await client.setContacts([{ email: "gone@example.com" }]);
  await client.deleteContacts();
  assert.equal(wire.json.contacts[0].email, "gone@example.com");
  assert.equal(wire.json.id, `${url}/certificates/contacts`);
});

test("traps: certificates are paged by maxresults alone", async () => {
  const certificates = new CertificateClient(url, credential);
  for (let i = 0; i < 3; i++) {
    const policy = { issuerName: "Self", subject: "CN=a", keyType: "EC", keyUsage: ["digitalSignature"] };
    await (await certificates.beginCreateCertificate(fresh("paged"), policy, { intervalInMs: 50 }))
      .pollUntilDone();
  }
  const reply = JSON.parse((await raw("GET", "/certificates?api-version=7.4&maxresults=2")).text);
  assert.equal(reply.value.length, 2);
  assert.match(reply.nextLink, /maxresults=2/);
});

for (const version of ["7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01"]) {
  test(`traps: api-version ${version} is served`, async () => {
    const { wire, client } = watched(SecretClient, { serviceVersion: version });
    const name = fresh("api");
    await client.setSecret(name, "v");
    assert.equal((await client.getSecret(name)).value, "v");
    assert.ok(wire.last.query.endsWith(`=${version}`));
  });
}

for (const version of ["6.9", "7.7", "2016-10-01", "2099-01-01", "7.4 "]) {
  test(`traps: api-version "${version}" is refused`, async () => {
    const client = new KeyClient(url, credential, { serviceVersion: version });
    await refused(client.getKey("any"), 400, "BadParameter", /api-version/i);
  });
}
