"""PostgreSQL with the configuration of examples/postgresql through the life of server.py,
as clusters of Debian's postgresql-common: a cluster has one key, so there is one for each.

    python3 tests/integration/servers/postgresql.py BUILD
"""
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys

from server import TLS13, Server, as_user, life, sanitizers, together, wait_for

VERSION = "15"
BIN = pathlib.Path(f"/usr/lib/postgresql/{VERSION}/bin")
SSL_REQUEST = struct.pack(">ii", 8, 80877103)
STARTUP = b"user\0postgres\0database\0postgres\0\0"
STARTUP = struct.pack(">ii", 8 + len(STARTUP), 3 << 16) + STARTUP
TERMINATE = b"X" + struct.pack(">i", 4)


class PostgreSQL(Server):
    example = "postgresql"
    user = "postgres"
    key_mode = 0o600
    complaint = re.compile(r"(ERROR|FATAL|PANIC|WARNING):|could not")
    # is_up() asks early, and sessions are open when the server stops.
    harmless = re.compile("the database system is starting up|"
                          "terminating connection due to administrator command")
    # PostgreSQL logs the reason without the text behind it.
    cause = re.compile(r"could not accept SSL connection: the key daemon cannot be reached")

    def configure(self):
        """One cluster made by initdb, and copied for each key."""
        self.sessions = []
        self.make_client()
        subprocess.run(
            as_user(self.user, BIN / "initdb", "-D", self.home("data"), "-A", "trust",
                    "-U", "postgres", "--no-sync", "--wal-segsize=1"),
            check=True, cwd="/", stdout=subprocess.DEVNULL)
        for template in ("1", "4"):  # nobody connects to them: less to copy
            shutil.rmtree(self.dir / "data" / "base" / template)
        hba = self.dir / "data" / "pg_hba.conf"
        hba.write_text("hostssl all app 127.0.0.1/32 cert\n" + hba.read_text())
        for site in self.sites:
            etc = self.home("etc", VERSION, site.name)
            data = self.dir / f"data-{site.name}"
            subprocess.run(["cp", "-a", self.dir / "data", data], check=True)
            (etc / "conf.d").mkdir()
            (etc / "postgresql.conf").write_text(
                f"data_directory = '{data}'\n"
                f"hba_file = '{data}/pg_hba.conf'\nident_file = '{data}/pg_ident.conf'\n"
                f"unix_socket_directories = '{data}'\n"
                f"external_pid_file = '{data}/external.pid'\n"
                f"listen_addresses = '127.0.0.1'\nport = {site.port}\n"
                f"shared_buffers = 1MB\nfsync = off\nautovacuum = off\nmin_wal_size = 2MB\ninclude_dir = 'conf.d'\n")
            (etc / "conf.d" / "keyvault.conf").write_text(
                self.site_text(site, "keyvault.conf", "")
                + f"ssl_ca_file = '{self.dir}/app.crt'\n")
            (etc / "environment").write_text(self.example_text(
                "environment", ("/etc/keyvault/openssl.cnf", self.env["OPENSSL_CONF"])))
        self.env["PG_CLUSTER_CONF_ROOT"] = str(self.dir / "etc")
        del self.env["OPENSSL_CONF"]  # it comes from the file "environment"

    def home(self, *names):
        """A folder of the user that runs the server."""
        path = self.dir
        for name in names:
            path = path / name
            path.mkdir(mode=0o755, exist_ok=True)
            if os.geteuid() == 0:
                shutil.chown(path, self.user, self.user)
        return path

    def make_client(self):
        """A key of the vault for the user app, who logs in by certificate."""
        self.dev.cli("cert", "create", "app", "--issuer", "Self", "--subject", "CN=app",
                     "--key-type", "EC")
        (self.dir / "app.crt").write_bytes(self.dev.cli("cert", "show", "app", "--pem"))
        (self.dir / "app.uri.pem").write_bytes(self.dev.cli("key", "uri-pem", "app"))
        (self.dir / "app.uri.pem").chmod(0o600)

    def own_checks(self):
        self.psql("user=postgres", "CREATE ROLE app LOGIN")
        user = self.psql(f"user=app sslcert={self.dir}/app.crt sslkey={self.dir}/app.uri.pem",
                         "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        self.expect(user == "/CN=app", "psql with a client key", user)

    def psql(self, login, statement):
        """An application with libpq; it verifies the server and its name."""
        site = self.sites[0]
        return subprocess.run(
            [BIN / "psql", "-Atc", statement, f"{login} dbname=postgres host={site.host} "
             f"hostaddr=127.0.0.1 port={site.port} sslmode=verify-full "
             f"sslrootcert={site.cert}"],
            check=True, stdout=subprocess.PIPE, text=True,
            env={**self.env, "OPENSSL_CONF": str(self.dir / "openssl.cnf")}).stdout.strip()

    def command(self):
        return together("SIGINT", *(
            ["pg_ctlcluster", "--foreground", VERSION, site.name, "start"]
            for site in self.sites))

    def is_up(self):
        try:
            for site in self.sites:
                with socket.create_connection(("127.0.0.1", site.port), timeout=10) as raw:
                    self.talk(raw, site)
            return True
        except OSError:
            return False

    def prelude(self, raw):
        raw.sendall(SSL_REQUEST)
        if raw.recv(1) != b"S":
            raise OSError("PostgreSQL offers no TLS")

    def talk(self, tls, site):
        """Log in and leave."""
        self.log_in(tls, site)
        tls.sendall(TERMINATE)

    def log_in(self, tls, site):
        tls.sendall(STARTUP)
        reply = b""
        while b"Z\0\0\0\5I" not in reply:  # ready for a query
            more = tls.recv(4096)
            if more == b"" or reply[:1] == b"E":
                raise OSError(f"{site.name}: the reply is {reply[:60]}")
            reply += more

    def pids(self):
        """With a process for each key that has signed with it: sessions stay open
        until the server stops."""
        for site in self.sites:
            raw = socket.create_connection(("127.0.0.1", site.port), timeout=10)
            self.prelude(raw)
            tls = site.context[TLS13].wrap_socket(raw, server_hostname=site.host)
            self.log_in(tls, site)
            self.sessions.append(tls)
        return wait_for("earlier sessions end", self.pids_when_quiet)

    def pids_when_quiet(self):
        found = super().pids()
        try:
            titles = [pathlib.Path(f"/proc/{pid}/cmdline").read_text() for pid in found]
        except OSError:
            return None
        n_sessions = sum("127.0.0.1(" in title for title in titles)
        return found if n_sessions == len(self.sessions) else None


if __name__ == "__main__":
    if sanitizers(pathlib.Path(sys.argv[1]) / "keyvault.so"):
        print("skipped: PostgreSQL does not start with a sanitized module")
        sys.exit(77)
    life(sys.argv[1], PostgreSQL)
