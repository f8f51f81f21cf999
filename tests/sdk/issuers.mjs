// Contacts and issuers through CertificateClient.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CertificateClient } from "@azure/keyvault-certificates";
import { all, credential, fresh, refused, url } from "./vault.mjs";

const client = new CertificateClient(url, credential);

test("issuers: contacts of the vault", async () => {
  await refused(client.getContacts(), 404, "ContactsNotFound");
  const contacts = [{ email: "a@example.com", name: "A", phone: "1" }, { email: "b@example.com" }];
  const set = await client.setContacts(contacts);
  assert.deepEqual(set.map((contact) => [contact.email, contact.name, contact.phone]),
    [["a@example.com", "A", "1"], ["b@example.com", undefined, undefined]]);
  assert.equal((await client.getContacts()).length, 2);
  await client.deleteContacts();
  await refused(client.getContacts(), 404, "ContactsNotFound");
});

test("issuers: create, read, change, list, delete", async () => {
  const name = fresh("issuer");
  const made = await client.createIssuer(name, "Test", {
    accountId: "42", password: "s3cret", organizationId: "org",
    administratorContacts: [{ firstName: "A", lastName: "B", email: "a@b.c", phone: "1" }],
  });
  assert.equal(made.provider, "Test");
  assert.equal(JSON.stringify(made).includes("s3cret"), false);
  const read = await client.getIssuer(name);
  assert.equal(read.accountId, "42");
  assert.equal(read.administratorContacts[0].email, "a@b.c");
  const changed = await client.updateIssuer(name, { accountId: "43" });
  assert.equal(changed.accountId, "43");
  assert.equal(changed.provider, "Test");
  const ids = (await all(client.listPropertiesOfIssuers())).map((issuer) => issuer.id);
  assert.ok(ids.includes(`${url}/certificates/issuers/${name}`), ids.join());
  await client.deleteIssuer(name);
  await refused(client.getIssuer(name), 404, "CertificateIssuerNotFound");
});
