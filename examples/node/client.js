// Fetch a page as somebody whose key is in the vault.
//
//     OPENSSL_CONF=/etc/keyvault/openssl.cnf node client.js URL CA CERTIFICATE KEY
'use strict';
const fs = require('node:fs');
const https = require('node:https');

const [url, ca, certificate, key] = process.argv.slice(2);
const options = {
  ca: fs.readFileSync(ca),
  cert: fs.readFileSync(certificate),
  key: fs.readFileSync(key),
};
https.get(url, options, (reply) => reply.pipe(process.stdout)).on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
