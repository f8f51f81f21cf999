"""examples/python/server.py with Debian's Python through the life of server.py, one
process for each key.

    python3 tests/integration/servers/python.py BUILD
"""
import re
import sys

from server import Server, as_user, life, together


class Python(Server):
    example = "python"
    complaint = re.compile(r"Error\b")
    # The port is looked at before the first handshake.
    harmless = re.compile(r"EOF occurred in violation of protocol|Connection reset by peer")
    # Python takes the last error from OpenSSL's queue, which is libssl's "EVP lib".
    cause = None
    without = ("the log says why",)

    def configure(self):
        (self.dir / "server.py").write_text(self.example_text(
            "server.py", ('("", int(port))', '("127.0.0.1", int(port))')))

    def command(self):
        return together("SIGTERM", *(
            as_user(self.user, "/usr/bin/python3", "-I", self.dir / "server.py",
                    site.cert, site.key, site.port)
            for site in self.sites))


if __name__ == "__main__":
    life(sys.argv[1], Python)
