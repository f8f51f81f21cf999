"""examples/node/server.js with the Node.js that is installed through the life of
server.py, one process for each key.

    python3 tests/integration/servers/node.py BUILD
"""
import re
import sys

from server import Server, as_user, life, no_node, together


class Node(Server):
    example = "node"
    complaint = re.compile(r"Error\b|TLS:")
    # The port is looked at before the first handshake.
    harmless = re.compile(r"socket hang up|ECONNRESET|unexpected eof while reading")
    cause = re.compile(r"the key daemon cannot be reached")

    def configure(self):
        (self.dir / "server.js").write_text(self.example_text(
            "server.js", ("Number(port)", "Number(port), '127.0.0.1'")))

    def command(self):
        return together("SIGTERM", *(
            as_user(self.user, "node", self.dir / "server.js", site.cert, site.key,
                    site.port)
            for site in self.sites))


if __name__ == "__main__":
    if no_node() is not None:
        print("skipped:", no_node())
        sys.exit(77)
    life(sys.argv[1], Node)
