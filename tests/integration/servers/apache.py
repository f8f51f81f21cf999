"""Apache with the configuration of examples/apache through the life of server.py, once
with each of its ways to handle connections.

    python3 tests/integration/servers/apache.py BUILD [prefork|worker|event]
"""
import pathlib
import re
import sys

from server import Server, life

ETC = pathlib.Path("/etc/apache2")
MODULES = ("authz_core", "dir", "mime", "setenvif", "socache_shmcb", "ssl")


class Apache(Server):
    """Debian's apache2.conf with modules of Debian's mods-available, as a2enmod and
    a2ensite arrange them."""

    example = "apache"
    # A mod_ssl that was built with a later patch level than the one installed.
    harmless = re.compile(r"AH01882")

    def configure(self):
        for folder in ("mods-enabled", "sites-enabled", "conf-enabled", "run"):
            (self.dir / folder).mkdir()
        for module in (f"mpm_{self.variant}", *MODULES):
            for path in ETC.glob(f"mods-available/{module}.*"):
                (self.dir / "mods-enabled" / path.name).symlink_to(path)
        (self.dir / "apache2.conf").write_text(
            (ETC / "apache2.conf").read_text().replace("/var/www", str(self.dir)))
        (self.dir / "html").mkdir()
        (self.dir / "html" / "index.html").write_text("apache\n")
        (self.dir / "ports.conf").write_text("".join(
            f"Listen 127.0.0.1:{site.port}\n" for site in self.sites))
        for site in self.sites:
            text = self.site_text(site, "keyvault.conf", "*:443",
                                  ("/var/www", self.dir))
            (self.dir / "sites-enabled" / f"{site.name}.conf").write_text(text)
        self.env.update(
            APACHE_CONFDIR=str(self.dir), APACHE_ENVVARS=str(self.dir / "envvars"),
            APACHE_RUN_USER=self.user, APACHE_RUN_GROUP=self.user,
            APACHE_PID_FILE=f"{self.dir}/run/apache2.pid",
            APACHE_RUN_DIR=f"{self.dir}/run", APACHE_LOCK_DIR=f"{self.dir}/run",
            APACHE_LOG_DIR=str(self.dir))

    def command(self):
        return ["apache2", "-d", self.dir, "-f", "apache2.conf", "-D", "FOREGROUND",
                "-c", "ServerName localhost", "-c", "LogLevel warn ssl:info"]

    def reload(self):
        """As the unit does: a look at the configuration, and then a signal."""
        self.run("apachectl", "graceful")


def variant(name):
    return type("Apache", (Apache,), {"variant": name})


if __name__ == "__main__":
    life(sys.argv[1], *map(variant, sys.argv[2:] or ("prefork", "worker", "event")))
