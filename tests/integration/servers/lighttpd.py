"""lighttpd with the configuration of examples/lighttpd through the life of server.py.

    python3 tests/integration/servers/lighttpd.py BUILD
"""
import os
import re
import signal
import sys

from server import REASON, Server, free_port, life

MODULES = 'server.modules += ( "mod_openssl" )'


class Lighttpd(Server):
    example = "lighttpd"
    complaint = re.compile(r"\(mod_openssl|\(server\.c.*(fail|error)|SSL:|error:")
    cause = REASON
    # 1 also with a key file: what is left in its return value after a reload.
    stop_codes = (0, 1)

    def configure(self):
        (self.dir / "index.html").write_text("lighttpd\n")
        sites = "".join(
            self.site_text(site, "keyvault.conf", '":443"',
                           ('":', '"127.0.0.1:'), (MODULES, ""))
            for site in self.sites)
        user = (f'server.username = "{self.user}"\nserver.groupname = "{self.user}"\n'
                if os.geteuid() == 0 else "")
        (self.dir / "lighttpd.conf").write_text(
            f'server.document-root = "{self.dir}"\n'
            f'server.bind = "127.0.0.1"\nserver.port = {free_port()}\n'
            f'server.errorlog = "{self.log_path}"\n'
            f'server.pid-file = "{self.dir}/lighttpd.pid"\n'
            f'server.feature-flags += ("server.graceful-shutdown-timeout" => 5)\n'
            f'index-file.names = ( "index.html" )\n'
            f'server.modules = ( "mod_indexfile" )\n'
            f'{user}{MODULES}\n{sites}')

    def command(self):
        return ["lighttpd", "-D", "-f", self.dir / "lighttpd.conf"]

    def reload(self):
        self.process.send_signal(signal.SIGUSR1)


if __name__ == "__main__":
    life(sys.argv[1], Lighttpd)
