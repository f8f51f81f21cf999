"""examples/customer-managed-key: wrap, rotate, cut off, as its README says.

    /usr/bin/python3 tests/integration/examples/customer_managed_key.py BUILD
"""
import json
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
ROOT = HERE.parents[3]
sys.path.insert(0, str(ROOT / "tests/support"))
from cli import DENIED, Cli, expect  # noqa: E402
from dev import Dev  # noqa: E402

STORE = ROOT / "examples/customer-managed-key/store.py"
CREATE = ("key", "create", "customer", "--type", "RSA", "--size", "3072", "--ops",
          "wrapKey,unwrapKey")
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's packages


class Shell:
    """A store that runs: one answer for each command."""

    def __init__(self, directory, env):
        self.process = subprocess.Popen([PYTHON, STORE, directory, "shell"], env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait(15)


def version(bundle):
    return bundle["key"]["kid"].rsplit("/", 1)[1]


def once(env, directory, *args, stdin=b""):
    return subprocess.run([PYTHON, STORE, directory, *args], env=env, input=stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)


def sealed_at_rest(data):
    """Nothing in the store's directory tells what was put into it."""
    for path in data.iterdir():
        expect(b"a letter" not in path.read_bytes(), f"{path} is in the clear")
        expect(path.stat().st_mode & 0o077 == 0, f"{path} is open to others")


def rotation(cli, shell, data, first):
    second = version(cli.json(*CREATE))
    wrapped = json.loads((data / "data-key.json").read_text())
    sealed = (data / "letter.sealed").read_bytes()
    time.sleep(1.2)
    expect(shell("get letter") == "ok a letter", "it reads on")
    envelope = json.loads((data / "data-key.json").read_text())
    expect(wrapped["kid"].endswith(first) and envelope["kid"].endswith(second),
           "the new version wraps the data key")
    expect((data / "letter.sealed").read_bytes() == sealed, "and nothing is sealed anew")
    cli.run("key", "update", "customer", "--version", first, "--disabled")
    time.sleep(1.2)
    expect(shell("get letter") == "ok a letter", "the old version is needed no more")


def cut_off(cli, shell, env, data):
    cli.run("key", "update", "customer", "--disabled")
    time.sleep(1.2)
    for command in ("get letter", "put letter2 x"):
        answer = shell(command)
        expect(answer.startswith("failed the vault answers 403") and "disabled" in answer, answer)
    done = once(env, data, "get", "letter")
    expect(done.returncode == 1 and b"disabled" in done.stderr and done.stdout == b"", done.stderr)
    cli.run("key", "update", "customer", "--enabled")
    expect(shell("get letter") == "ok a letter", "and it sees again")


def other_ends(cli, shell, app):
    """A deleted key and a revoked right end it as well."""
    cli.run("key", "delete", "customer")
    time.sleep(1.2)
    expect("answers 404" in shell("get letter"), "deleted")
    cli.run("key", "recover", "customer")
    expect(shell("get letter") == "ok a letter", "recovered")
    cli.run("access", "revoke", f"app:{app['clientId']}", "--role",
            "crypto-service-encryption-user", "--scope", "keys/customer")
    time.sleep(1.2)
    expect("answers 403" in shell("get letter"), "revoked")


def least_right(cli, env):
    """The application may wrap and unwrap, and nothing else."""
    token = json.loads(subprocess.run(
        ["curl", "-sS", "--cacert", env["KEYVAULT_CA"],
         f"{env['KEYVAULT_AUTHORITY']}/{env['AZURE_TENANT_ID']}/oauth2/v2.0/token",
         "-d", "grant_type=client_credentials", "-d", f"client_id={env['AZURE_CLIENT_ID']}",
         "-d", f"client_secret={env['AZURE_CLIENT_SECRET']}",
         "-d", "scope=https://vault.localhost/.default"],
        env={k: v for k, v in env.items() if k != "OPENSSL_CONF"}, check=True,
        stdout=subprocess.PIPE).stdout)["access_token"]
    stranger = {"KEYVAULT_API": env["KEYVAULT_URL"], "KEYVAULT_TOKEN": token}
    cli.run("key", "show", "customer", env=stranger)
    for verb in (("key", "update", "customer", "--disabled"), ("key", "delete", "customer"),
                 ("key", "create", "customer", "--type", "RSA"), ("secret", "list"),
                 ("key", "sign", "customer", "--file", STORE)):
        cli.fails(DENIED, "api.forbidden", *verb, env=stranger)


def main():
    with Dev(sys.argv[1]) as dev:
        cli = Cli(dev)
        data = dev.work / "data"
        first = version(cli.json(*CREATE))
        app = cli.json("app", "create", "store", "--role", "crypto-service-encryption-user",
                       "--scope", "keys/customer")
        env = {**dev.env, "CMK_KEY": "customer", "CMK_CACHE_S": "1",
               "AZURE_TENANT_ID": app["tenantId"], "AZURE_CLIENT_ID": app["clientId"],
               "AZURE_CLIENT_SECRET": app["clientSecret"]}
        env.pop("KEYVAULT_TOKEN")
        env.pop("OPENSSL_CONF")  # it is a client of the API, and needs no provider
        shell = Shell(data, env)
        try:
            expect(shell("put letter a letter") == "ok", "put")
            expect(shell("get letter") == "ok a letter", "get")
            expect(once(env, data, "put", "b", stdin=b"\0\xff").returncode == 0
                   and once(env, data, "get", "b").stdout == b"\0\xff", "another process")
            expect(first in once(env, data, "status").stdout.decode(), "status")
            sealed_at_rest(data)
            rotation(cli, shell, data, first)
            least_right(cli, env)
            cut_off(cli, shell, env, data)
            other_ends(cli, shell, app)
        finally:
            shell.close()
        print("as expected")


if __name__ == "__main__":
    main()
