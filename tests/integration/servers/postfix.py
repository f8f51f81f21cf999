"""Postfix with the configuration of examples/postfix through the life of server.py: an
instance of its own whose smtpd programs are in a chroot, as Debian's are, one for each
key; and its smtp client, which sends a message to one that asks for a certificate.

    python3 tests/integration/servers/postfix.py BUILD
"""
import os
import pathlib
import re
import shutil
import signal
import smtplib
import subprocess
import sys

from server import REASON, Server, free_port, life, wait_for

MASTER = pathlib.Path("/etc/postfix/master.cf.proto")
RELAY = """\
127.0.0.1:{relay} inet n - y - - smtpd -o smtpd_tls_req_ccert=yes
  -o smtpd_tls_security_level=encrypt -o smtpd_tls_CAfile={ca}
  -o smtpd_recipient_restrictions=permit_tls_all_clientcerts,reject
"""
SITE = """\
127.0.0.1:{port} inet n - y - - smtpd -o content_filter=smtp:[127.0.0.1]:{relay}
  -o smtpd_tls_cert_file={cert} -o smtpd_tls_key_file={key}
"""
# Where the instance is, and where mail ends that the relay has accepted.
INSTANCE = """\
compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
maillog_file = /dev/stdout
myhostname = localhost
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
default_transport = discard
smtp_tls_CAfile = {ca}
"""


class Postfix(Server):
    example = "postfix"
    user = "postfix"
    is_in_chroot = True
    complaint = re.compile(r"warning:|error:|fatal:|panic:")
    cause = REASON
    stop_codes = (-signal.SIGTERM,)  # the master ends its group, itself included

    def configure(self):
        self.relay = free_port()
        for name in ("conf", "spool", "data"):
            (self.dir / name).mkdir(mode=0o755)
        shutil.chown(self.dir / "data", self.user)
        first = self.sites[0]
        at = dict(dir=self.dir, relay=self.relay, ca=first.cert)
        (self.dir / "conf" / "main.cf").write_text(
            INSTANCE.format(**at) + self.site_text(
                first, "main.cf", "",
                ("OPENSSL_CONF=/etc/keyvault/openssl.cnf", "".join(
                    f"{{ {k} = {v} }} " for k, v in
                    {"OPENSSL_CONF": self.env.pop("OPENSSL_CONF"), **self.needs}.items()))))
        programs = re.sub(r"^smtp +inet .*\n", "", MASTER.read_text(), flags=re.MULTILINE)
        (self.dir / "conf" / "master.cf").write_text(programs + RELAY.format(**at) + "".join(
            SITE.format(**at, port=site.port, cert=site.cert, key=site.key)
            for site in self.sites))

    def command(self):
        """What `postfix start-fg` does, but for its shell: signals reach the master."""
        self.postfix("check")
        return ["/usr/lib/postfix/sbin/master", "-c", self.dir / "conf", "-s"]

    def reload(self):
        self.postfix("reload")

    def postfix(self, command):
        subprocess.run(["postfix", "-c", self.dir / "conf", command], check=True,
                       env=self.env, stderr=subprocess.DEVNULL)

    def prelude(self, raw):
        replies = raw.makefile("rb")
        self.converse(raw, replies, b"", b"220")
        self.converse(raw, replies, b"EHLO localhost\r\n", b"250")
        self.converse(raw, replies, b"STARTTLS\r\n", b"220")

    def talk(self, tls, site):
        replies = tls.makefile("rb")
        self.converse(tls, replies, b"EHLO localhost\r\n", b"250")
        self.converse(tls, replies, b"QUIT\r\n", b"221")

    @staticmethod
    def converse(stream, replies, command, code):
        """One command and its reply, which may have several lines."""
        stream.sendall(command)
        line = replies.readline()
        while line[3:4] == b"-":
            line = replies.readline()
        if line[:3] != code:
            raise OSError(f"after {command}: {line}")

    def own_checks(self):
        begin = self.log_size()
        with smtplib.SMTP("127.0.0.1", self.sites[0].port) as smtp:
            smtp.sendmail("a@example.org", "b@example.org", "Subject: a message\r\n\r\n")
        wait_for("the message is delivered", lambda: re.search(
            r"postfix/discard.*status=sent", self.log(begin)))
        self.expect(re.search(r"smtpd.*: Trusted TLS connection established from",
                              self.log(begin)), "smtp with a client key")


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: Postfix runs as root only")
        sys.exit(77)
    life(sys.argv[1], Postfix)
