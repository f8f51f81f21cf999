"""nginx with the configuration of examples/nginx through the life of server.py.

    python3 tests/integration/servers/nginx.py BUILD
"""
import os
import sys

from server import Server, life


class Nginx(Server):
    example = "nginx"

    def configure(self):
        user = f"user {self.user};" if os.geteuid() == 0 else ""
        temp = "".join(f"{name}_temp_path {self.dir}/{name};" for name in
                       ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        sites = "".join(
            self.site_text(site, "keyvault.conf", "listen 443",
                           ("listen ", "listen 127.0.0.1:"),
                           ("/var/www/html", self.dir))
            for site in self.sites)
        (self.dir / "index.html").write_text("nginx\n")
        (self.dir / "nginx.conf").write_text(
            f"{user} worker_processes 2; pid {self.dir}/nginx.pid;\n"
            f"error_log {self.log_path} notice;\n"
            f"events {{}}\n"
            f"http {{ access_log off; {temp}\n{sites} }}\n")

    def command(self):
        return ["nginx", "-p", self.dir, "-c", self.dir / "nginx.conf",
                "-e", self.log_path, "-g", "daemon off;"]

    def reload(self):
        """As the unit does: this reads the configuration, and then the server does."""
        self.run(*self.command(), "-s", "reload")


if __name__ == "__main__":
    life(sys.argv[1], Nginx)
