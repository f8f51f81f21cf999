"""hitch with the configuration of examples/hitch through the life of server.py.

    python3 tests/integration/servers/hitch.py BUILD
"""
import os
import re
import sys

from server import REASON, Server, life

FRONTEND = "frontend = {"


class Hitch(Server):
    example = "hitch"
    user = "_hitch"
    complaint = re.compile(r"(?i)error|fail|unable")
    cause = REASON
    # The port is looked at before the first handshake.
    harmless = re.compile(r"unexpected eof while reading")

    def configure(self):
        texts = [self.site_text(site, "hitch.conf", 'port = "443"',
                                ('"*"', '"127.0.0.1"'),
                                (":8080", f":{self.backend.port}"))
                 for site in self.sites]
        head = texts[0].partition(FRONTEND)[0]
        blocks = "".join(FRONTEND + text.partition(FRONTEND)[2] for text in texts)
        (self.dir / "hitch.conf").write_text(head + blocks)

    def command(self):
        user = ["--user", self.user, "--group", self.user] if os.geteuid() == 0 else []
        return ["hitch", *user, "--config", self.dir / "hitch.conf"]


if __name__ == "__main__":
    life(sys.argv[1], Hitch)
