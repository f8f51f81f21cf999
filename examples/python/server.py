"""HTTPS with a key of the vault.

    OPENSSL_CONF=/etc/keyvault/openssl.cnf python3 server.py CERTIFICATE KEY PORT

KEY is what `keyvault key uri-pem` writes. SIGHUP reads both files again: connections
from then on get the new certificate, established ones go on.
"""
import http.server
import signal
import ssl
import sys

certificate, key, port = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)


def load(*_):
    context.load_cert_chain(certificate, key)


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"hello\n")


load()
signal.signal(signal.SIGHUP, load)
server = http.server.ThreadingHTTPServer(("", int(port)), Hello)
# Not in accept(), where one slow client would hold up all others.
server.socket = context.wrap_socket(server.socket, server_side=True,
                                    do_handshake_on_connect=False)
server.serve_forever()
