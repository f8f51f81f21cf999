"""stunnel with the configuration of examples/stunnel through the life of server.py, on
sockets that are passed to it as systemd does.

    python3 tests/integration/servers/stunnel.py BUILD
"""
import os
import re
import socket
import sys

from server import REASON, Server, life

USER = "setuid = stunnel4\nsetgid = stunnel4\n"
FIRST = 3  # of the descriptors that are passed: sd_listen_fds(3)


class Stunnel(Server):
    example = "stunnel"
    user = "stunnel4"
    key_mode = 0o640
    cause = REASON
    complaint = re.compile(r"LOG[0-4]\b|error:")
    # The port is looked at before the first handshake; no client is asked for a
    # certificate, so there are none to trust.
    harmless = re.compile(r"unexpected eof while reading|No trusted certificates found")

    def configure(self):
        texts = [self.site_text(site, "keyvault.conf", "0.0.0.0:443",
                                ("0.0.0.0", "127.0.0.1"), ("[web]", f"[{site.name}]"),
                                ("127.0.0.1:80", f"127.0.0.1:{self.backend.port}"))
                 for site in self.sites]
        head = texts[0].partition("[")[0]
        if os.geteuid() != 0:
            head = head.replace(USER, "")
        (self.dir / "stunnel.conf").write_text(
            head + "".join("[" + text.partition("[")[2] for text in texts))

    def command(self):
        return [sys.executable, __file__, "--listen",
                *(site.port for site in self.sites), "--",
                "stunnel4", self.dir / "stunnel.conf"]


def listen_and_run(ports, command):
    """What systemd does with a socket unit: the sockets become descriptors 3 and up."""
    sockets = [socket.create_server(("127.0.0.1", int(port)), backlog=128)
               for port in ports]
    # Not onto one another: first all away from where they go.
    away = [os.dup2(s.fileno(), FIRST + 100 + i) for i, s in enumerate(sockets)]
    for i, fd in enumerate(away):
        os.dup2(fd, FIRST + i)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(ports)))
    os.execvp(command[0], command)


if __name__ == "__main__":
    if sys.argv[1] == "--listen":
        end = sys.argv.index("--")
        listen_and_run(sys.argv[2:end], sys.argv[end + 1:])
    life(sys.argv[1], Stunnel)
