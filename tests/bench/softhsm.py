"""The peer: the same keys in a SoftHSM token, used through OpenSSL's pkcs11 engine.

Debian 12 has softhsm2 and libengine-pkcs11-openssl; the newer pkcs11-provider is not
in it. Without the two packages the comparison is left out.
"""
import os
import pathlib
import subprocess

MODULES = ("/usr/lib/softhsm/libsofthsm2.so",
           "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
PIN = "1234"


def module():
    return next((m for m in MODULES if os.path.exists(m)), None)


def is_there():
    engines = pathlib.Path("/usr/lib").glob("*/engines-3/pkcs11.so")
    return module() is not None and any(engines)


class SoftHsm:
    """A token in a directory of its own. `env` makes programs find it."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        tokens = self.dir / "tokens"
        tokens.mkdir(parents=True)
        conf = self.dir / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n"
                        "log.level = ERROR\nslots.removable = false\n")
        cnf = self.dir / "openssl.cnf"
        cnf.write_text("openssl_conf = init\n[init]\nengines = engines\n[engines]\n"
                       "pkcs11 = pkcs11\n[pkcs11]\nengine_id = pkcs11\n"
                       f"MODULE_PATH = {module()}\nPIN = {PIN}\ninit = 1\n")
        self.env = dict(os.environ, SOFTHSM2_CONF=str(conf), OPENSSL_CONF=str(cnf))
        self.util("--init-token", "--free", "--label", "bench", "--so-pin", PIN)

    def util(self, *args):
        subprocess.run(["softhsm2-util", *args, "--pin", PIN], check=True, env=self.env,
                       stdout=subprocess.DEVNULL)

    def add(self, name, key):
        """Put the PEM file `key` into the token; returns what OpenSSL programs take."""
        pkcs8 = self.dir / f"{name}.p8"
        subprocess.run(["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", key, "-out",
                        pkcs8], check=True)
        self.util("--import", str(pkcs8), "--token", "bench", "--label", name, "--id",
                  name.encode().hex())
        self.let_workers_in()
        return (f"engine:pkcs11:pkcs11:token=bench;object={name};type=private;"
                f"pin-value={PIN}")

    def let_workers_in(self):
        """Workers of nginx that have given up root open the token again."""
        for path in [self.dir, *self.dir.rglob("*")]:
            path.chmod(0o777 if path.is_dir() else 0o666)
