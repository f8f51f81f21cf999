"""hitch with the configuration of examples/hitch through the life of server.py, in a
network of its own with the example's sysctl.

    python3 tests/integration/servers/hitch.py BUILD
"""
import fcntl
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys

from server import REASON, ROOT, Server, life

FRONTEND = "frontend = {"
SYSCTL = ROOT / "examples/hitch/sysctl.conf"


class Hitch(Server):
    example = "hitch"
    user = "_hitch"
    complaint = re.compile(r"(?i)error|fail|unable")
    cause = REASON
    # The port is looked at before the first handshake.
    harmless = re.compile(r"unexpected eof while reading")

    def configure(self):
        texts = [self.site_text(site, "hitch.conf", 'port = "443"', ('"*"', '"127.0.0.1"'),
                                (":8080", f":{self.backend.port}"))
                 for site in self.sites]
        head = texts[0].partition(FRONTEND)[0]
        blocks = "".join(FRONTEND + text.partition(FRONTEND)[2] for text in texts)
        (self.dir / "hitch.conf").write_text(head + blocks)

    def command(self):
        user = ["--user", self.user, "--group", self.user] if os.geteuid() == 0 else []
        return ["hitch", *user, "--config", self.dir / "hitch.conf"]


def set_up_network():
    """Loopback up, and the sysctl of the example; False where the kernel has none."""
    with socket.socket() as s:
        up_and_running = 0x41
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", up_and_running))
    (name, value), = re.findall(r"^(\S+) = (\S+)$", SYSCTL.read_text(), re.MULTILINE)
    path = pathlib.Path("/proc/sys") / name.replace(".", "/")
    if path.exists():
        path.write_text(value)
    return path.exists()


def main(build, is_inside):
    if not is_inside and subprocess.run(["unshare", "-n", "true"]).returncode == 0:
        os.execvp("unshare", ["unshare", "-n", sys.executable, __file__, build, "inside"])
    if not (is_inside and set_up_network()):
        print("no network with the example's sysctl: hitch resets connections at reload")
        Hitch.own_failures = (ConnectionResetError,)
    life(build, Hitch)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] == ["inside"])
