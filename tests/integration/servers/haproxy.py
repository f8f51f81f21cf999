"""HAProxy with the configuration of examples/haproxy through the life of server.py: as
it stands there, which is in a chroot; without it; and with asynchronous TLS.

    python3 tests/integration/servers/haproxy.py BUILD [plain|chroot|async]
"""
import pathlib
import re
import signal
import socket
import sys

from server import Server, expect_none_failed, life, new_versions, wait_for


class HAProxy(Server):
    """Master and worker as Debian's unit runs them, but for sd_notify and the log."""

    example = "haproxy"
    user = "haproxy"
    stop_codes = (0, 143)
    complaint = re.compile(r"\[ALERT\]|handshake failure|error:[0-9A-F]{8}:")
    harmless = re.compile(r"Current worker \(\d+\) exited with code 143")  # told to stop
    # HAProxy logs the reason without the text behind it.
    cause = re.compile(r"keyvault::the key daemon cannot be reached")

    def bundle(self, site):
        return site.cert.with_suffix(".pem")

    def install(self, site):
        super().install(site)
        new = self.bundle(site).with_suffix(".new")
        new.write_bytes(site.cert.read_bytes() + site.key.read_bytes())
        new.replace(self.bundle(site))

    def configure(self):
        jail = self.dir / "jail"
        jail.mkdir(mode=0o755)
        text = self.example_text(
            "haproxy.cfg", ("/dev/log", "stderr format raw"),
            ("/run/haproxy/admin.sock", self.dir / "admin.sock"),
            ("chroot /var/lib/haproxy", self.chroot.format(jail)),
            ("127.0.0.1:8080", f"127.0.0.1:{self.backend.port}"))
        bind = "    bind :443 ssl crt /etc/ssl/keyvault/web.pem\n"
        head, tail = text.split(bind)
        binds = (bind.replace(":443", f"127.0.0.1:{site.port}")
                 .replace("/etc/ssl/keyvault/web.pem", str(self.bundle(site)))
                 for site in self.sites)
        (self.dir / "haproxy.cfg").write_text(head + "".join(binds) + tail)

    def command(self):
        return ["haproxy", "-W", "-db", "-S", self.dir / "master.sock",
                "-f", self.dir / "haproxy.cfg"]

    def is_up(self):
        return super().is_up() and self.ask("master.sock", "show proc\n") != ""

    def stop(self):
        """A master that is just starting, or executes itself again for a reload, would
        be killed by the signal and not end in order."""
        wait_for("the master answers", self.is_up)
        super().stop()

    def ask(self, name, command):
        """The answer of a socket of HAProxy, "" when nobody is there."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(10)
                s.connect(str(self.dir / name))
                s.sendall(command.encode())
                s.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: s.recv(4096), b"")).decode()
        except OSError:
            return ""

    def reload(self):
        self.process.send_signal(signal.SIGUSR2)


class Plain(HAProxy):
    variant = "plain"
    chroot = ""


class Chroot(HAProxy):
    variant = "chroot"
    is_in_chroot = True
    chroot = "chroot {}"

    def own_checks(self):
        expect_none_failed(self, new_versions(self, self.set_certificates),
                           "new certificates by the runtime API")

    def set_certificates(self):
        """As the README of the example says it, without a reload."""
        for site in self.sites:
            path = self.bundle(site)
            for command, reply in (
                    (f"set ssl cert {path} <<\n{path.read_text()}\n", "Transaction created"),
                    (f"commit ssl cert {path}\n", "Success!")):
                said = self.ask("admin.sock", command)
                if reply not in said:
                    raise AssertionError(f"{command[:60]}: {said}")


class Async(HAProxy):
    variant = "async"
    chroot = "ssl-mode-async"

    def openssl_conf(self):
        path = super().openssl_conf()
        path.write_text(path.read_text() + "async = on\n")
        return path


def variants(build, asked):
    """Those that were asked for; AddressSanitizer takes the jumps of fibres for errors."""
    is_sanitized = b"__asan_init" in (pathlib.Path(build) / "keyvault.so").read_bytes()
    every = (Plain, Chroot) if is_sanitized else (Plain, Chroot, Async)
    return [one for one in every if asked in ([], [one.variant])]


if __name__ == "__main__":
    life(sys.argv[1], *variants(sys.argv[1], sys.argv[2:]))
