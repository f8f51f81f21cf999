// What the tests of this folder share: the vault that keyvaultd --dev offers, and
// helpers around it. The shell has read DIR/env before it started node.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import dns from "node:dns";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export const url = need("KEYVAULT_URL");
export const tenant = need("KEYVAULT_TENANT");
const token = need("KEYVAULT_TOKEN");
assert.equal(process.env.NODE_EXTRA_CA_CERTS, need("KEYVAULT_CA"), "the vault's own CA");

function need(name) {
  assert.ok(process.env[name], `${name} is not set: read DIR/env of keyvaultd --dev`);
  return process.env[name];
}

// *.vault.localhost is this machine; plain glibc does not know that.
const systemLookup = dns.lookup;
dns.lookup = (host, options, done) => {
  if (typeof options === "function") [options, done] = [{}, options];
  if (!`.${host}`.endsWith(".localhost")) return systemLookup(host, options, done);
  const address = { address: "127.0.0.1", family: 4 };
  if (options.all) return process.nextTick(done, null, [address]);
  return process.nextTick(done, null, address.address, address.family);
};

// The token that --dev made; `asked` is what the SDK read from the challenge.
export class Credential {
  asked = [];
  constructor(value = token) {
    this.value = value;
  }
  async getToken(scopes, options) {
    this.asked.push({ scopes: [scopes].flat(), tenant: options.tenantId });
    return { token: this.value, expiresOnTimestamp: Date.now() + 3600e3 };
  }
}
export const credential = new Credential();

// A name that no other test uses.
export const fresh = (prefix) => `${prefix}-${randomBytes(5).toString("hex")}`;

export async function all(pages) {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
}

// The promise is refused with this status and code, and with a sentence.
export function refused(promise, status, code, pattern = /\w+ \w+/) {
  return assert.rejects(promise, (error) => {
    assert.equal(error.name, "RestError", `${error.name}: ${error.message}`);
    assert.equal(error.statusCode, status, `${error.statusCode}: ${error.message}`);
    assert.equal(error.code, code);
    assert.match(error.message, pattern);
    return true;
  });
}

export const isVersion = /^[0-9a-f]{32}$/;

// A date as the wire has it: whole seconds.
export const seconds = (date) => Math.trunc(date.getTime() / 1000);
export const inDays = (days) => new Date((seconds(new Date()) + days * 86400) * 1000);

// What a client that is made with `wire.options` sends and gets, as HTTP has it.
export class Wire {
  seen = [];
  options = {
    additionalPolicies: [{
      position: "perRetry",
      policy: {
        name: "wire",
        sendRequest: async (request, next) => {
          const { method, body } = request;
          const { pathname, search, href } = new URL(request.url);
          const one = { method, path: pathname, query: search, url: href, body };
          one.sent = request.headers.toJSON();
          this.seen.push(one);
          const response = await next(request);
          one.status = response.status;
          one.headers = response.headers;
          one.text = response.bodyAsText;
          return response;
        },
      },
    }],
  };
  // The last request that was answered, and its JSON.
  get last() {
    return this.seen.at(-1);
  }
  get json() {
    return JSON.parse(this.last.text);
  }
}

// A directory for openssl(1), which makes what clients would bring along.
export class Workshop {
  dir = mkdtempSync(path.join(tmpdir(), "keyvault-sdk."));
  openssl(...args) {
    const env = { ...process.env, OPENSSL_CONF: "/dev/null" };
    return execFileSync("openssl", args, { cwd: this.dir, env, stdio: ["ignore", "pipe", "pipe"] });
  }
  read(name) {
    return readFileSync(path.join(this.dir, name));
  }
  write(name, data) {
    writeFileSync(path.join(this.dir, name), data);
  }
  close() {
    rmSync(this.dir, { recursive: true });
  }
}
