// Users who sign in for an application: device codes and on-behalf-of, with the
// unmodified @azure/identity; and what their tokens are worth.
import assert from "node:assert/strict";
import https from "node:https";
import { test } from "node:test";
import { ClientSecretCredential, DeviceCodeCredential, OnBehalfOfCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";
import { Credential, fresh, refused, tenant, url } from "./vault.mjs";

const authorityHost = process.env.KEYVAULT_AUTHORITY;
const scope = "https://vault.localhost/.default";
const options = { authorityHost, disableInstanceDiscovery: true };

function ask(method, target, { body, form, token } = {}) {
  const text = form ? new URLSearchParams(form).toString() : body && JSON.stringify(body);
  const headers = {
    ...(token && { Authorization: `Bearer ${token}` }),
    ...(text && { "Content-Type": form ? "application/x-www-form-urlencoded" : "application/json" }),
    ...(text && { "Content-Length": Buffer.byteLength(text) }),
  };
  return new Promise((done, fail) => {
    const request = https.request(new URL(target, authorityHost), { method, headers }, (reply) => {
      let answer = "";
      reply.on("data", (chunk) => { answer += chunk; });
      reply.on("end", () => done({ status: reply.statusCode, text: answer, headers: reply.headers }));
    });
    request.on("error", fail);
    request.end(text);
  });
}
async function admin(method, target, body) {
  const { status, text } = await ask(method, `/keyvault/v1/${target}`, { body, token: process.env.KEYVAULT_TOKEN });
  assert.equal(status, 200, text);
  return JSON.parse(text);
}
const createUser = () => admin("POST", "principals", { name: fresh("user") });
const createApp = (body = {}) => admin("POST", "apps", { name: fresh("app"), ...body });
const grant = (principal, role) => admin("PUT", "assignments", { principal, role, scope: "/default" });
const claimsOf = (jwt) => JSON.parse(Buffer.from(jwt.split(".")[1], "base64url"));
const open = (jwt) => new SecretClient(url, new Credential(jwt)).listPropertiesOfSecrets().next();

const signIn = (page, user, code, secret = user.secret) =>
  ask("POST", page, { form: { user_code: code, username: user.name, password: secret } });

// DeviceCodeCredential of a public application, with a user who signs in at the page.
function device(app, user, inTenant = tenant) {
  return new DeviceCodeCredential({
    ...options, clientId: app.clientId, tenantId: inTenant,
    userPromptCallback: async (prompt) => {
      const done = await signIn(prompt.verificationUri, user, prompt.userCode);
      assert.equal(done.status, 200, done.text);
    },
  });
}

async function userToken(app, user, forScope = scope) {
  return (await device(app, user).getToken(forScope)).token;
}

test("users: DeviceCodeCredential signs a user in, through an application", async () => {
  const app = await createApp({ public: true });
  const user = await createUser();
  assert.equal(app.clientSecret, undefined, "a public application keeps no secret");
  await grant(`user:${user.objectId}`, "secrets-officer");
  const secrets = new SecretClient(url, device(app, user));
  const name = fresh("device");
  await secrets.setSecret(name, "value");
  assert.equal((await secrets.getSecret(name)).value, "value");
});

test("users: a token names both, the user and the application", async () => {
  const app = await createApp({ public: true });
  const user = await createUser();
  const claims = claimsOf(await userToken(app, user));
  assert.equal(claims.oid, user.objectId);
  assert.equal(claims.azp, app.clientId);
  assert.equal(claims.idtyp, "user");
  assert.equal(claims.name, user.name);
  assert.equal(claims.exp - claims.iat, 900);
});

test("users: what was granted to one of the two is not granted to the other", async () => {
  const app = await createApp({ public: true });
  const robot = await createApp();
  const user = await createUser();
  const other = await createUser();
  await grant(`user:${user.objectId}`, "reader");
  await grant(`app:${robot.clientId}`, "reader");
  await open(await userToken(app, user));
  const stranger = new SecretClient(url, new Credential(await userToken(app, other)));
  await refused(stranger.getSecret("any"), 403, "Forbidden", new RegExp(other.objectId));
  await grant(`app:${app.clientId}`, "reader");
  await refused(open(await userToken(app, other)), 403, "Forbidden");
  const alone = new ClientSecretCredential(tenant, robot.clientId, robot.clientSecret, options);
  await open((await alone.getToken(scope)).token);
});

test("users: the end of user or application ends the token", async () => {
  const app = await createApp({ public: true });
  const user = await createUser();
  await grant(`user:${user.objectId}`, "reader");
  const first = await userToken(app, user);
  await open(first);
  const renewed = await admin("POST", `principals/${user.name}/secret`);
  assert.notEqual(renewed.secret, user.secret);
  await refused(open(first), 401, "Unauthorized");
  const second = await userToken(app, { ...user, secret: renewed.secret });
  await open(second);
  await admin("DELETE", `apps/${app.name}`);
  await refused(open(second), 401, "Unauthorized");
  const next = await createApp({ public: true });
  const third = await userToken(next, { ...user, secret: renewed.secret });
  await open(third);
  await admin("DELETE", `principals/${user.name}`);
  await refused(open(third), 401, "Unauthorized");
});

const codes = async (app, more = {}) => {
  const got = await ask("POST", `/${tenant}/oauth2/v2.0/devicecode`,
    { form: { client_id: app.clientId, scope: `${scope} openid profile offline_access`, ...more } });
  return { status: got.status, ...JSON.parse(got.text) };
};
const poll = async (app, code, more = {}) => {
  const got = await ask("POST", `/${tenant}/oauth2/v2.0/token`,
    { form: { client_id: app.clientId, grant_type: "device_code", device_code: code, ...more } });
  return { status: got.status, ...JSON.parse(got.text) };
};

test("users: the page of a device names the application and takes the right secret only", async () => {
  const app = await createApp({ public: true });
  const user = await createUser();
  const got = await codes(app);
  assert.match(got.user_code, /^[B-Z]{4}-[B-Z]{4}$/);
  const page = await ask("GET", got.verification_uri_complete);
  assert.equal(page.status, 200);
  assert.match(page.headers["content-type"], /^text\/html/);
  assert.match(page.headers["content-security-policy"], /default-src 'none'/);
  assert.ok(page.text.includes(`<b>${app.name}</b>`), page.text);
  const odd = await ask("GET", `${got.verification_uri}?user_code=%3Cscript%3E%22`);
  assert.ok(!odd.text.includes("<script"), "nothing of the query is in the page as it is");
  assert.equal((await poll(app, got.device_code)).error, "authorization_pending");
  assert.equal((await poll(app, got.device_code)).error, "slow_down");
  assert.equal((await signIn(got.verification_uri, user, got.user_code, "wrong")).status, 401);
  assert.equal((await signIn(got.verification_uri, user, got.user_code)).status, 429, "wait a moment");
  await new Promise((done) => { setTimeout(done, 600); });
  assert.equal((await signIn(got.verification_uri, user, "BBBB-BBBB")).status, 400);
  assert.equal((await signIn(got.verification_uri, { name: app.name, secret: "x" }, got.user_code)).status, 401);
  assert.equal((await poll(app, got.device_code)).error, "authorization_pending");
  assert.equal((await signIn(got.verification_uri, user, got.user_code.toLowerCase().replace("-", ""))).status, 200);
  assert.equal((await signIn(got.verification_uri, user, got.user_code)).status, 400, "once");
  const other = await createApp({ public: true });
  assert.equal((await poll(other, got.device_code)).error, "expired_token", "of another application");
  assert.equal((await poll(app, got.device_code)).token_type, "Bearer");
  assert.equal((await poll(app, got.device_code)).error, "expired_token", "once");
});

test("users: requests for codes that cannot be are refused", async () => {
  const app = await createApp({ public: true });
  const confidential = await createApp();
  for (const [more, error] of [
    [{ client_id: "00000000-0000-4000-8000-000000000000" }, "unauthorized_client"],
    [{ client_id: "" }, "invalid_request"],
    [{ scope: "https://vault.azure.net/.default" }, "invalid_resource"],
    [{ scope: "openid profile" }, "invalid_resource"],
    [{ scope: `${scope} https://vault.azure.net/.default` }, "invalid_resource"],
    [{ scope: "api://unknown/.default" }, "invalid_resource"],
  ]) {
    const got = await codes(app, more);
    assert.equal(got.error, error, JSON.stringify([more, got]));
  }
  const got = await codes(confidential);
  assert.equal(got.status, 200);
  assert.equal((await poll(confidential, got.device_code)).error, "invalid_client", "it has a secret to show");
  assert.equal((await poll(confidential, got.device_code, { client_secret: confidential.clientSecret })).error,
    "authorization_pending");
});

test("users: OnBehalfOfCredential acts for the user of a token that it got", async () => {
  const front = await createApp({ public: true });
  const middle = await createApp();
  const user = await createUser();
  await grant(`user:${user.objectId}`, "secrets-officer");
  const incoming = await userToken(front, user, `api://${middle.clientId}/.default`);
  assert.equal(claimsOf(incoming).aud, `api://${middle.clientId}`);
  await refused(open(incoming), 401, "Unauthorized");
  const credential = new OnBehalfOfCredential({
    ...options, tenantId: tenant, clientId: middle.clientId, clientSecret: middle.clientSecret,
    userAssertionToken: incoming,
  });
  const secrets = new SecretClient(url, credential);
  const name = fresh("behalf");
  await secrets.setSecret(name, "for the user");
  assert.equal((await secrets.getSecret(name)).value, "for the user");
  const claims = claimsOf((await credential.getToken(scope)).token);
  assert.equal(claims.oid, user.objectId);
  assert.equal(claims.azp, middle.clientId);
  assert.equal(claims.idtyp, "user");
});

test("users: on behalf of whom, and what is no token for that", async () => {
  const front = await createApp({ public: true });
  const middle = await createApp();
  const other = await createApp();
  const user = await createUser();
  const good = await userToken(front, user, `api://${middle.clientId}/.default`);
  const obo = async (app, assertion, more = {}) => {
    const got = await ask("POST", `/${tenant}/oauth2/v2.0/token`, {
      form: {
        client_id: app.clientId, client_secret: app.clientSecret, scope, assertion,
        grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", requested_token_use: "on_behalf_of", ...more,
      },
    });
    return JSON.parse(got.text);
  };
  const swapped = await obo(middle, good);
  assert.equal(swapped.token_type, "Bearer");
  assert.ok(claimsOf(swapped.access_token).exp <= claimsOf(good).exp, "it ends with what it was got for");
  assert.ok(swapped.expires_in <= claimsOf(good).exp - claimsOf(swapped.access_token).iat);
  const appOnly = new ClientSecretCredential(tenant, middle.clientId, middle.clientSecret, options);
  for (const [what, got] of Object.entries({
    "for another application": await obo(other, good),
    "a token for the vault": await obo(middle, await userToken(front, user)),
    "an application's own": await obo(middle, (await appOnly.getToken(scope)).token),
    "a token for itself": await obo(middle, good, { scope: `api://${middle.clientId}/.default` }),
    "no token": await obo(middle, "x"),
    "none at all": await obo(middle, ""),
    "a changed one": await obo(middle, `${good.slice(0, -4)}AAAA`),
  })) assert.equal(got.error, "invalid_grant", `${what}: ${JSON.stringify(got)}`);
  assert.equal((await obo(middle, good, { client_secret: "wrong" })).error, "invalid_client");
  assert.equal((await obo(middle, good, { requested_token_use: "" })).error, "unsupported_grant_type");
  await admin("POST", `principals/${user.name}/secret`);
  assert.equal((await obo(middle, good)).error, "invalid_grant", "the user's tokens have ended");
});

test("users: users and applications are kept apart", async () => {
  const app = await createApp();
  const user = await createUser();
  const show = (target) => ask("GET", `/keyvault/v1/${target}`, { token: process.env.KEYVAULT_TOKEN });
  assert.equal((await show(`apps/${user.name}`)).status, 404);
  assert.equal((await show(`principals/${app.name}`)).status, 404);
  assert.equal((await show(`principals/${user.name}`)).status, 200);
  const listed = await admin("GET", "principals");
  assert.ok(listed.value.some((one) => one.name === user.name));
  assert.ok(!listed.value.some((one) => one.name === app.name));
  assert.ok(!JSON.stringify(listed).includes(user.secret), "told once");
  const got = await ask("POST", `/${tenant}/oauth2/v2.0/token`, {
    form: { grant_type: "client_credentials", client_id: user.objectId, client_secret: user.secret, scope },
  });
  assert.equal(JSON.parse(got.text).error, "unauthorized_client", "a user is no client");
});
