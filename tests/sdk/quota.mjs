// Quotas: what is asked too fast gets 429 with the time to wait, and the SDK's own retry
// policy comes through. A second vault, with small quotas, in a directory of its own.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const node18 = process.execArgv.filter((flag) => flag === "--experimental-global-webcrypto");

// The caller: its own process, because Node.js reads the CA to trust only at its start.
const caller = `
  import { SecretClient } from "@azure/keyvault-secrets";
  import { Wire, credential, url } from "./vault.mjs";
  const wire = new Wire();
  const client = new SecretClient(url, credential, wire.options);
  for (let i = 0; i < 12; i++) await client.setSecret("q" + i, "value");
  console.log(JSON.stringify(wire.seen.map((one) => ({
    status: one.status,
    after: one.headers.get("retry-after"),
    ms: one.headers.get("x-ms-retry-after-ms"),
    text: one.status === 429 ? one.text : "",
  }))));
`;

describe("quotas", () => {
  let dir;
  let daemon;
  let env;

  before(async () => {
    dir = mkdtempSync(path.join(tmpdir(), "keyvault-quota."));
    writeFileSync(path.join(dir, "keyvault.conf"), "quota { write = 10 }\n");
    const plain = { ...process.env };
    for (const name of Object.keys(plain))
      if (name.startsWith("KEYVAULT_") || name === "OPENSSL_CONF") delete plain[name];
    daemon = spawn("keyvaultd", ["--dev", dir, "--listen", "127.0.0.1:0"], {
      env: plain,
      stdio: ["ignore", "pipe", "ignore"],
    });
    let said = "";
    await new Promise((done) => {
      daemon.stdout.on("data", (chunk) => {
        said += chunk;
        if (said.includes("keyvaultd: ready")) done();
      });
      daemon.once("exit", done);
    });
    assert.match(said, /keyvaultd: ready/);
    const listed = execFileSync("sh", ["-c", `. "${dir}/env" && env -0`], { env: plain });
    env = Object.fromEntries(listed.toString().split("\0").filter(Boolean).map((item) => {
      const at = item.indexOf("=");
      return [item.slice(0, at), item.slice(at + 1)];
    }));
    env.NODE_EXTRA_CA_CERTS = env.KEYVAULT_CA;
    delete env.OPENSSL_CONF;
  });

  after(async () => {
    if (daemon) {
      const ended = new Promise((done) => daemon.once("exit", done));
      daemon.kill("SIGTERM");
      await ended;
    }
    rmSync(dir, { recursive: true, force: true });
  });

  it("the SDK's retry policy waits as long as it is told, and comes through", () => {
    const out = execFileSync(process.execPath,
      [...node18, "--input-type=module", "-e", caller], { cwd: here, env });
    const seen = JSON.parse(out.toString());
    assert.equal(seen.filter((one) => one.status === 200).length, 12);
    const throttled = seen.filter((one) => one.status === 429);
    assert.ok(throttled.length > 0, "nothing was throttled");
    for (const one of throttled) {
      assert.equal(one.after, "1");
      assert.ok(one.ms > 0 && one.ms <= 1000, one.ms);
      assert.equal(JSON.parse(one.text).error.code, "Throttled");
    }
  });
});
