"""Fetch a page as somebody whose key is in the vault.

    OPENSSL_CONF=/etc/keyvault/openssl.cnf python3 client.py URL CA CERTIFICATE KEY
"""
import ssl
import sys
import urllib.request

url, ca, certificate, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
with urllib.request.urlopen(url, context=context) as reply:
    print(reply.read().decode(), end="")
