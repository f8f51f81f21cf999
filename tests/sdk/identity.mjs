// Signing in with the unmodified @azure/identity against the vault's own authority, and
// the tokens that the vault takes and refuses.
import assert from "node:assert/strict";
import { createHash, createHmac, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import https from "node:https";
import path from "node:path";
import { after, test } from "node:test";
import { ClientCertificateCredential, ClientSecretCredential } from "@azure/identity";
import { CertificateClient } from "@azure/keyvault-certificates";
import { KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { all, Credential, fresh, refused, tenant, url, Workshop } from "./vault.mjs";

const authorityHost = process.env.KEYVAULT_AUTHORITY;
const resource = "https://vault.localhost";
const scope = `${resource}/.default`;
const shop = new Workshop();
after(() => shop.close());

// --- our own routes, as the administrator of --dev

function ask(method, target, { body, form, token } = {}) {
  const text = form ? new URLSearchParams(form).toString() : body && JSON.stringify(body);
  const headers = {
    ...(token && { Authorization: `Bearer ${token}` }),
    ...(text && { "Content-Type": form ? "application/x-www-form-urlencoded" : "application/json" }),
    ...(text && { "Content-Length": Buffer.byteLength(text) }),
  };
  return new Promise((done, fail) => {
    const request = https.request(authorityHost + target, { method, headers }, (reply) => {
      let answer = "";
      reply.on("data", (chunk) => { answer += chunk; });
      reply.on("end", () => done({ status: reply.statusCode, json: answer ? JSON.parse(answer) : null }));
    });
    request.on("error", fail);
    request.end(text);
  });
}

async function admin(method, target, body) {
  const { status, json } = await ask(method, `/keyvault/v1/${target}`,
    { body, token: process.env.KEYVAULT_TOKEN });
  assert.equal(status, 200, JSON.stringify(json));
  return json;
}
const createApp = (body = {}) => admin("POST", "apps", { name: fresh("app"), ...body });
const grant = (app, role, where = "/default") =>
  admin("PUT", "assignments", { principal: `app:${app.clientId}`, role, scope: where });

const options = { authorityHost, disableInstanceDiscovery: true };
const withSecret = (app, secret = app.clientSecret, inTenant = app.tenantId) =>
  new ClientSecretCredential(inTenant, app.clientId, secret, options);
const token = (form, inTenant = tenant) => ask("POST", `/${inTenant}/oauth2/v2.0/token`, { form });
const secretForm = (app, more = {}) => ({
  grant_type: "client_credentials", client_id: app.clientId, client_secret: app.clientSecret, scope, ...more,
});

// A self-signed certificate and its key in one file, and both apart.
function certificate(label, newkey = ["rsa:2048"]) {
  shop.openssl("req", "-x509", "-newkey", ...newkey, "-nodes", "-keyout", `${label}.key`,
    "-out", `${label}.crt`, "-days", "30", "-subj", `/CN=${label}`);
  const pem = shop.read(`${label}.crt`).toString();
  const key = shop.read(`${label}.key`).toString();
  shop.write(`${label}.pem`, key + pem);
  return { pem, key, file: path.join(shop.dir, `${label}.pem`) };
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const claimsOf = (jwt) => JSON.parse(Buffer.from(jwt.split(".")[1], "base64url"));
const headerOf = (jwt) => JSON.parse(Buffer.from(jwt.split(".")[0], "base64url"));

// --- signing in

test("identity: discovery names the endpoints of this authority", async () => {
  const { status, json } = await ask("GET", `/${tenant}/v2.0/.well-known/openid-configuration`);
  assert.equal(status, 200);
  assert.equal(json.issuer, `${authorityHost}/${tenant}/v2.0`);
  assert.equal(json.token_endpoint, `${authorityHost}/${tenant}/oauth2/v2.0/token`);
  const keys = await ask("GET", new URL(json.jwks_uri).pathname);
  assert.equal(keys.status, 200);
  const [key] = keys.json.keys;
  assert.equal(key.alg, "ES256");
  assert.equal(createPublicKey({ key, format: "jwk" }).asymmetricKeyDetails.namedCurve, "prime256v1");
  for (const member of ["d", "k", "p"]) assert.equal(key[member], undefined);
});

test("identity: ClientSecretCredential opens secrets, keys and certificates", async () => {
  const app = await createApp();
  await grant(app, "administrator");
  const credential = withSecret(app);
  const secrets = new SecretClient(url, credential);
  const keys = new KeyClient(url, credential);
  const certificates = new CertificateClient(url, credential);
  const name = fresh("signed-in");
  await secrets.setSecret(name, "value");
  assert.equal((await secrets.getSecret(name)).value, "value");
  const key = await keys.createEcKey(`${name}-key`);
  const signed = await keys.getCryptographyClient(key.name).signData("ES256", Buffer.from("text"));
  assert.equal(signed.result.length, 64);
  const poller = await certificates.beginCreateCertificate(`${name}-cert`,
    { issuerName: "Self", subject: "CN=identity.example.com" }, { intervalInMs: 50 });
  assert.equal((await poller.pollUntilDone()).name, `${name}-cert`);
});

test("identity: a token says whose it is, for how long, and for what", async () => {
  const app = await createApp();
  const { token: jwt, expiresOnTimestamp } = await withSecret(app).getToken(scope);
  const claims = claimsOf(jwt);
  assert.equal(claims.aud, resource);
  assert.equal(claims.iss, `${authorityHost}/${tenant}/v2.0`);
  assert.equal(claims.tid, tenant);
  assert.equal(claims.oid, app.objectId);
  assert.equal(claims.appid, app.clientId);
  assert.equal(claims.azp, app.clientId);
  assert.equal(claims.idtyp, "app");
  assert.equal(claims.exp - claims.iat, 900);
  assert.ok(Math.abs(expiresOnTimestamp / 1000 - claims.exp) < 10);
  assert.equal(headerOf(jwt).alg, "ES256");
});

for (const [label, newkey] of [["RSA 2048", ["rsa:2048"]], ["RSA 3072", ["rsa:3072"]]]) {
  test(`identity: ClientCertificateCredential with ${label}, several requests at once`, async () => {
    const { pem, file } = certificate("login", newkey);
    const app = await createApp({ certificate: pem });
    assert.equal(app.clientSecret, undefined);
    await grant(app, "secrets-officer");
    const credential = new ClientCertificateCredential(tenant, app.clientId, file, options);
    const client = new SecretClient(url, credential);
    const names = [fresh("cert"), fresh("cert"), fresh("cert")];
    for (const name of names) await client.setSecret(name, name);
    const got = await Promise.all(names.map((name) =>
      new SecretClient(url, new ClientCertificateCredential(tenant, app.clientId, file, options)).getSecret(name)));
    assert.deepEqual(got.map(({ value }) => value), names);
  });
}

test("identity: a certificate that was not registered does not sign in", async () => {
  const app = await createApp({ certificate: certificate("registered").pem });
  const { file } = certificate("other");
  const credential = new ClientCertificateCredential(tenant, app.clientId, file, options);
  await assert.rejects(credential.getToken(scope), /700027/);
});

test("identity: what does not sign in, and its number", async () => {
  const app = await createApp();
  const right = await token(secretForm(app));
  assert.equal(right.status, 200);
  assert.equal(right.json.token_type, "Bearer");
  const rows = [
    [{ client_secret: "x".repeat(43) }, 401, "invalid_client", 7000215],
    [{ client_secret: "short" }, 401, "invalid_client", 7000215],
    [{ client_id: "00000000-0000-4000-8000-000000000000" }, 400, "unauthorized_client", 700016],
    [{ scope: "https://vault.azure.net/.default" }, 400, "invalid_resource", 500011],
    [{ scope: resource }, 400, "invalid_resource", 500011],
    [{ grant_type: "password" }, 400, "unsupported_grant_type", 70003],
    [{ grant_type: "" }, 400, "invalid_request", 900144],
    [{ client_secret: "" }, 401, "invalid_client", 7000218],
    [{ client_assertion: "a.b.c" }, 401, "invalid_client", 7000218],
  ];
  for (const [more, status, error, code] of rows) {
    const got = await token(secretForm(app, more));
    assert.equal(got.status, status, JSON.stringify([more, got.json]));
    assert.equal(got.json.error, error);
    assert.deepEqual(got.json.error_codes, [code]);
    assert.match(got.json.error_description, new RegExp(`^AADSTS${code}: \\w`));
  }
  const elsewhere = await token(secretForm(app), "00000000-0000-4000-8000-000000000000");
  assert.deepEqual(elsewhere.json.error_codes, [90002]);
  const json = await ask("POST", `/${tenant}/oauth2/v2.0/token`, { body: secretForm(app) });
  assert.equal(json.status, 400, "a form, not JSON");
});

test("identity: the SDK reports a wrong secret, an unknown client, foreign tenant and resource", async () => {
  const app = await createApp();
  await assert.rejects(withSecret(app, "wrong").getToken(scope), /7000215/);
  await assert.rejects(withSecret({ ...app, clientId: tenant }).getToken(scope), /700016/);
  await assert.rejects(withSecret(app).getToken("https://vault.azure.net/.default"), /500011/);
  await assert.rejects(withSecret(app, app.clientSecret, "00000000-0000-4000-8000-000000000000").getToken(scope));
  const client = new SecretClient(url,
    new ClientSecretCredential("00000000-0000-4000-8000-000000000000", app.clientId, app.clientSecret, options));
  await assert.rejects(client.getSecret("any"), /tenant/i, "the challenge names another tenant");
});

test("identity: failed secrets are slowed, and the right one works afterwards", async () => {
  const app = await createApp();
  const from = Date.now();
  for (let i = 0; i < 3; i++) {
    assert.equal((await token(secretForm(app, { client_secret: "wrong" }))).status, 401);
  }
  assert.ok(Date.now() - from >= 700, "the pauses double: 0, 250 and 500 ms");
  const other = await createApp();
  const begin = Date.now();
  assert.equal((await token(secretForm(other))).status, 200);
  assert.ok(Date.now() - begin < 600, "others do not wait");
  assert.equal((await token(secretForm(app))).status, 200, "never locked");
});

// --- assertions by hand

function assertion(app, { key, pem }, { claims = {}, header = {}, alg = "sha256", pss = true } = {}) {
  shop.write("assert.crt", pem);
  const der = shop.openssl("x509", "-in", "assert.crt", "-outform", "DER");
  shop.write("assert.der", der);
  const digest = shop.openssl("dgst", "-sha256", "-binary", "assert.der");
  const now = Math.trunc(Date.now() / 1000);
  const text = `${part({ alg: "PS256", typ: "JWT", "x5t#S256": digest.toString("base64url"), ...header })}.${part({
    aud: `${authorityHost}/${tenant}/oauth2/v2.0/token`, iss: app.clientId, sub: app.clientId,
    jti: fresh("jti"), nbf: now, exp: now + 600, ...claims,
  })}`;
  const padding = pss ? { padding: 6, saltLength: 32 } : {};
  return `${text}.${sign(alg, Buffer.from(text), { key, ...padding }).toString("base64url")}`;
}
const assertionForm = (app, jwt) => ({
  grant_type: "client_credentials", client_id: app.clientId, scope, client_assertion: jwt,
  client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
});

test("identity: assertions are checked in every claim", async () => {
  const pair = certificate("assertion");
  const app = await createApp({ certificate: pair.pem });
  const now = Math.trunc(Date.now() / 1000);
  const rows = [
    [{}, 200],
    [{ header: { alg: "RS256" }, pss: false }, 200],
    [{ header: { kid: "any", x5c: ["AAAA"], jku: "https://evil.example.com" } }, 200, undefined],
    [{ claims: { aud: "https://other.example.com/token" } }, 401, 700023],
    [{ claims: { aud: `${authorityHost}/${tenant}/v2.0` } }, 401, 700023],
    [{ claims: { exp: now - 120 } }, 401, 700024],
    [{ claims: { nbf: now + 600, exp: now + 900 } }, 401, 700024],
    [{ claims: { exp: undefined } }, 401, 700027],
    [{ claims: { exp: now + 2 * 86400 } }, 401, 700027],
    [{ claims: { iss: tenant } }, 401, 700021],
    [{ claims: { sub: tenant } }, 401, 700021],
    [{ claims: { jti: undefined } }, 401, 700021],
    [{ header: { "x5t#S256": "AAAA" } }, 401, 700027],
    [{ header: { "x5t#S256": undefined } }, 401, 700027],
    [{ header: { alg: "none" } }, 401, 50027],
    [{ header: { alg: "HS256" } }, 401, 50027],
    [{ header: { alg: "RS512" } }, 401, 700027],
    [{ header: { crit: ["exp"] } }, 401, 50027],
  ];
  for (const [change, status, code] of rows) {
    const got = await token(assertionForm(app, assertion(app, pair, change)));
    assert.equal(got.status, status, JSON.stringify([change, got.json]));
    if (code) assert.deepEqual(got.json.error_codes, [code], JSON.stringify(change));
    if (status !== 200) await token(assertionForm(app, assertion(app, pair))); // ends the pause
  }
});

// --- the vault and tokens

const open = (jwt) => new SecretClient(url, new Credential(jwt)).listPropertiesOfSecrets().next();
const isRefused = (jwt) => refused(open(jwt), 401, "Unauthorized");

test("identity: without a role there is 403, with one there is what it allows", async () => {
  const app = await createApp();
  const secrets = new SecretClient(url, withSecret(app));
  const name = fresh("grant");
  await refused(secrets.getSecret(name), 403, "Forbidden", new RegExp(app.clientId));
  await grant(app, "secrets-user", `secrets/${name}`);
  await refused(secrets.getSecret(name), 404, "SecretNotFound");
  await refused(secrets.setSecret(name, "x"), 403, "Forbidden");
  await refused(all(secrets.listPropertiesOfSecrets()), 403, "Forbidden");
  await grant(app, "reader");
  await all(secrets.listPropertiesOfSecrets());
});

test("identity: the end of an application is the end of its tokens", async () => {
  const app = await createApp();
  await grant(app, "reader");
  const { token: jwt } = await withSecret(app).getToken(scope);
  await open(jwt);
  const renewed = await admin("POST", `apps/${app.clientId}/secret`);
  assert.notEqual(renewed.clientSecret, app.clientSecret);
  await isRefused(jwt);
  await assert.rejects(withSecret(app).getToken(scope), /7000215/);
  const { token: next } = await withSecret(renewed).getToken(scope);
  await open(next);
  await admin("DELETE", `apps/${app.name}`);
  await isRefused(next);
  await assert.rejects(withSecret(renewed).getToken(scope), /700016/);
  const again = await createApp({ name: app.name });
  assert.notEqual(again.clientId, app.clientId, "the name is free, its rights are not inherited");
  await refused(open((await withSecret(again).getToken(scope)).token), 403, "Forbidden");
});

test("identity: forged tokens are refused", async () => {
  const app = await createApp();
  await grant(app, "reader");
  const { token: jwt } = await withSecret(app).getToken(scope);
  await open(jwt);
  const [head, body, signature] = jwt.split(".");
  const header = headerOf(jwt);
  const claims = claimsOf(jwt);
  const mine = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const ours = await ask("GET", `/${tenant}/discovery/v2.0/keys`);
  const publicPem = createPublicKey({ key: ours.json.keys[0], format: "jwk" }).export({ type: "spki", format: "pem" });
  const jwk = mine.publicKey.export({ format: "jwk" });
  const forge = (moreHeader, moreClaims = {}) => {
    const text = `${part({ ...header, ...moreHeader })}.${part({ ...claims, ...moreClaims })}`;
    const made = sign("sha256", Buffer.from(text), { key: mine.privateKey, dsaEncoding: "ieee-p1363" });
    return `${text}.${made.toString("base64url")}`;
  };
  const hmac = (key) => {
    const text = `${part({ ...header, alg: "HS256" })}.${body}`;
    return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
  };
  const flipped = Buffer.from(signature, "base64url");
  flipped[10] ^= 1;
  const forged = {
    "alg none": `${part({ ...header, alg: "none" })}.${body}.`,
    "alg None with a signature": `${part({ ...header, alg: "None" })}.${body}.${signature}`,
    "HS256 with the public key": hmac(publicPem),
    "HS256 with the public key's JWK": hmac(JSON.stringify(ours.json.keys[0])),
    "another key under our kid": forge({}),
    "a key of its own in jwk": forge({ jwk }),
    "a kid and a jwk of its own": forge({ jwk, kid: "mine" }),
    "jku": forge({ jku: "https://evil.example.com/keys", kid: "mine" }),
    "x5u": forge({ x5u: "https://evil.example.com/chain" }),
    "x5c": forge({ x5c: ["MIIB"] }),
    "no kid": forge({ kid: undefined }),
    "another audience": forge({}, { aud: "https://vault.azure.net" }),
    "another issuer": forge({}, { iss: "https://sts.windows.net/x/" }),
    "changed claims": `${head}.${part({ ...claims, appid: tenant })}.${signature}`,
    "a changed signature": `${head}.${body}.${flipped.toString("base64url")}`,
    "a cut signature": `${head}.${body}.${signature.slice(0, -4)}`,
    "a signature in DER": `${head}.${body}.${Buffer.concat([Buffer.from([0x30, 68]), flipped]).toString("base64url")}`,
    "a fourth part": `${jwt}.${signature}`,
    "two parts": `${head}.${body}`,
    "padding": `${jwt}==`,
    "another last character": jwt.slice(0, -1) + (jwt.endsWith("A") ? "B" : "A"),
    "crit": forge({ crit: ["b64"], b64: false }),
    "nothing": "x",
  };
  for (const [what, one] of Object.entries(forged)) {
    await isRefused(one).catch((error) => assert.fail(`${what}: ${error.message}`));
  }
  await open(jwt);
});

test("identity: a client certificate is known by its key", async () => {
  const { pem, key } = certificate("client", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
  const other = certificate("stranger", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
  const spki = createPublicKey(pem).export({ type: "spki", format: "der" });
  const principal = `mtls:${createHash("sha256").update(spki).digest("hex")}`;
  const get = (pair, headers = {}) => new Promise((done, fail) => {
    https.get(`${url}/secrets?api-version=7.5`,
      { ...(pair && { cert: pair.pem, key: pair.key }), headers, agent: false }, (reply) => {
        reply.resume();
        reply.on("end", () => done(reply.statusCode));
      }).on("error", fail);
  });
  assert.equal(await get({ pem, key }), 401, "nothing was granted to it");
  await admin("PUT", "assignments", { principal, role: "reader", scope: "/default" });
  assert.equal(await get({ pem, key }), 200);
  assert.equal(await get({ pem: other.pem, key: other.key }), 401);
  assert.equal(await get(), 401);
  assert.equal(await get({ pem, key }, { Authorization: "Bearer x" }), 401, "a token that came is judged");
  await admin("PUT", "assignments", { principal, role: "crypto-user", scope: "/default" });
  await admin("DELETE", "assignments", { principal, role: "reader", scope: "/default" });
  assert.equal(await get({ pem, key }), 403);
  shop.openssl("x509", "-in", "client.crt", "-signkey", "client.key", "-days", "-1", "-out", "old.crt");
  assert.equal(await get({ pem: shop.read("old.crt").toString(), key }), 401, "expired");
});

test("identity: applications are for who administers the installation", async () => {
  const app = await createApp();
  await grant(app, "administrator", "/default");
  const { token: jwt } = await withSecret(app).getToken(scope);
  const call = (method, target, body) => ask(method, `/keyvault/v1/${target}`, { body, token: jwt });
  for (const [method, target, body] of [
    ["GET", "apps"], ["POST", "apps", { name: fresh("app") }], ["GET", `apps/${app.name}`],
    ["POST", `apps/${app.name}/secret`], ["DELETE", `apps/${app.name}`], ["GET", "apps/absent"],
  ]) {
    const { status, json } = await call(method, target, body);
    assert.equal(status, 403, `${method} ${target}: ${JSON.stringify(json)}`);
  }
  const listed = await admin("GET", "apps");
  const found = listed.value.find((one) => one.name === app.name);
  assert.equal(found.clientId, app.clientId);
  assert.equal(found.clientSecret, undefined, "told once");
  assert.equal(JSON.stringify(listed).includes(app.clientSecret), false);
});
