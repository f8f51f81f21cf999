// HTTPS with a key of the vault.
//
//     OPENSSL_CONF=/etc/keyvault/openssl.cnf node server.js CERTIFICATE KEY PORT
//
// KEY is what `keyvault key uri-pem` writes. SIGHUP reads both files again: connections
// from then on get the new certificate, established ones go on.
'use strict';
const fs = require('node:fs');
const https = require('node:https');

const [certificate, key, port] = process.argv.slice(2);
const load = () => ({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });

const server = https.createServer(load(), (request, reply) => {
  reply.setHeader('Content-Type', 'text/plain');
  reply.end('hello\n');
});
server.on('tlsClientError', (error) => console.error('TLS:', error.message));
process.on('SIGHUP', () => server.setSecureContext(load()));
server.listen(Number(port));
