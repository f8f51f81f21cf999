"""Each command of keyvault, good and bad, over a real keyvaultd --dev.

    python3 tests/integration/cli/commands.py BUILD
"""
import json
import os
import pathlib
import pty
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from cli import (DENIED, DONE, FAILED, NOT_FOUND, UNREACHABLE, USAGE, Cli,  # noqa: E402
                 expect)
from dev import Dev  # noqa: E402

def openssl(work, *args):
    env = {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}
    return subprocess.run(["openssl", *map(str, args)], cwd=work, env=env, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def keys(cli, work):
    made = cli.json("key", "create", "rsa", "--type", "RSA", "--size", "3072")
    expect(made["key"]["kty"] == "RSA" and "d" not in made["key"], "RSA bundle")
    for curve in ("P-256", "P-384", "P-521", "P-256K"):
        bundle = cli.json("key", "create", "ec-" + curve, "--type", "EC", "--curve", curve)
        expect(bundle["key"]["crv"] == curve, curve)
        expect("deriveBits" in bundle["key"]["key_ops"], "EC keys may agree on keys")
    ed = cli.json("key", "create", "ed", "--type", "ed25519", "--tags", "a=b,c=",
                  "--expires", "2031-02-03", "--not-before", "1700000000", "--disabled")
    expect(ed["tags"] == {"a": "b", "c": ""}, "tags")
    expect(ed["attributes"]["exp"] == 1927843200 and ed["attributes"]["nbf"] == 1700000000
           and ed["attributes"]["enabled"] is False, "attributes")
    names = [k["kid"].rsplit("/", 1)[1] for k in cli.json("key", "list")]
    expect(sorted(names) == names and "rsa" in names, "list is sorted by name")
    expect("rsa" in cli.out("key", "list").decode(), "table")
    cli.run("key", "create", "rsa", "--type", "RSA")
    versions = cli.json("key", "versions", "rsa")
    expect(len(versions) == 2, "two versions")
    first = made["key"]["kid"].rsplit("/", 1)[1]
    expect(cli.json("key", "show", "rsa", "--version", first)["key"]["n"] == made["key"]["n"],
           "an old version is still there")
    expect(first.encode() in cli.out("key", "show", "rsa", "--version", first), "show")


def bad_keys(cli):
    cli.fails(USAGE, "cli.usage", "key", "create")
    cli.fails(USAGE, "cli.bad-flag", "key", "create", "x")
    cli.fails(USAGE, "cli.bad-flag", "key", "create", "x", "--type", "DSA")
    cli.fails(USAGE, "cli.bad-flag", "key", "create", "x", "--type", "RSA", "--size", "1024")
    cli.fails(USAGE, "cli.bad-flag", "key", "create", "x", "--type", "EC", "--size", "2048")
    cli.fails(USAGE, "cli.bad-flag", "key", "create", "under_score", "--type", "RSA")
    cli.fails(USAGE, "cli.bad-flag", "key", "create", "x", "--type", "RSA", "--tags", "a")
    cli.fails(USAGE, "cli.bad-flag", "key", "create", "x", "--type", "RSA",
              "--expires", "2031-02-30")
    cli.fails(USAGE, "cli.bad-flag", "key", "show", "rsa", "--version", "12")
    cli.fails(NOT_FOUND, "object.not-found", "key", "show", "absent")
    cli.fails(NOT_FOUND, "object.not-found", "key", "show", "rsa", "--version", "1" * 32)
    cli.fails(FAILED, "api.bad-field", "key", "create", "x", "--type", "EC", "--curve", "P-1")
    cli.fails(FAILED, "api.bad-field", "key", "create", "x", "--type", "RSA",
              "--size", "2049")
    expect(cli.json("key", "list") == [k for k in cli.json("key", "list")
                                       if not k["kid"].endswith("/x")], "nothing half made")


def imports(cli, work):
    openssl(work, "genrsa", "-out", "r.pem", "2048")
    openssl(work, "pkey", "-in", "r.pem", "-outform", "DER", "-out", "r.der")
    openssl(work, "pkey", "-in", "r.pem", "-traditional", "-out", "r1.pem")
    openssl(work, "pkey", "-in", "r.pem", "-aes256", "-passout", "pass:secret", "-out", "rp.pem")
    for name, curve in (("e256", "prime256v1"), ("e384", "secp384r1"), ("e521", "secp521r1"),
                        ("e256k", "secp256k1")):
        openssl(work, "ecparam", "-name", curve, "-genkey", "-noout", "-out", name + ".pem")
    openssl(work, "genpkey", "-algorithm", "ed25519", "-out", "ed.pem")
    (work / "good.pw").write_text("secret\n")
    (work / "bad.pw").write_text("wrong\n")
    numbers = {cli.json("key", "import", "i-" + f[:-4] + f[-3:], "--file", f)["key"]["n"]
               for f in ("r.pem", "r.der", "r1.pem")}
    numbers.add(cli.json("key", "import", "i-rp", "--file", "rp.pem",
                         "--password-file", "good.pw")["key"]["n"])
    expect(len(numbers) == 1, "four forms of one key give one key")
    for name in ("e256", "e384", "e521", "e256k", "ed"):
        cli.run("key", "import", "i-" + name, "--file", name + ".pem")
    with open(work / "e256.pem", "rb") as file:
        cli.run("key", "import", "stdin", "--file", "-", stdin=file.read())
    cli.fails(FAILED, "pem.wrong-password", "key", "import", "x", "--file", "rp.pem",
              "--password-file", "bad.pw")
    cli.fails(FAILED, "cli.no-terminal", "key", "import", "x", "--file", "rp.pem")
    cli.fails(FAILED, "pem.no-key", "key", "import", "x", "--file", "good.pw")
    cli.fails(FAILED, "cli.no-file", "key", "import", "x", "--file", "absent")
    cli.fails(USAGE, "cli.bad-flag", "key", "import", "x")
    openssl(work, "genpkey", "-algorithm", "x25519", "-out", "x.pem")
    cli.fails(FAILED, "pem.unsupported-key", "key", "import", "x", "--file", "x.pem")
    openssl(work, "genrsa", "-out", "small.pem", "1024")
    done = cli.run("key", "import", "x", "--file", "small.pem", code=FAILED)
    expect(done.stderr.startswith(b"keyvault: "), "RSA below 2048 is refused")


def crypto(cli, work):
    (work / "doc").write_bytes(b"a document")
    (work / "other").write_bytes(b"another document")
    for name in ("rsa", "ec-P-256", "ec-P-384", "ec-P-521", "ec-P-256K", "i-ed"):
        cli.run("key", "sign", name, "--file", "doc", "--out", "sig")
        text = cli.out("key", "sign", name, "--file", "doc").decode().strip()
        cli.run("key", "verify", name, "--file", "doc", "--signature", "sig")
        cli.run("key", "verify", name, "--file", "doc", "--value", text)
        cli.fails(FAILED, "cli.bad-signature", "key", "verify", name, "--file", "other",
                  "--signature", "sig")
    for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
        cli.run("key", "sign", "i-rpem", "--alg", alg, "--file", "doc", "--out", "sig")
        cli.run("key", "verify", "i-rpem", "--alg", alg, "--file", "doc", "--signature", "sig")
    cli.run("key", "sign", "i-rpem", "--alg", "RS256", "--file", "doc", "--out", "sig")
    openssl(work, "pkey", "-in", "r.pem", "-pubout", "-out", "r.pub")
    openssl(work, "dgst", "-sha256", "-verify", "r.pub", "-signature", "sig", "doc")
    for alg in ("RSA-OAEP-256", "RSA-OAEP", "RSA1_5"):
        cli.run("key", "encrypt", "rsa", "--alg", alg, "--file", "doc", "--out", "enc")
        plain = cli.out("key", "decrypt", "rsa", "--alg", alg, "--file", "enc")
        expect(plain == b"a document", f"{alg} round trip")
        cli.run("key", "wrap", "rsa", "--alg", alg, "--file", "doc", "--out", "enc")
        expect(cli.out("key", "unwrap", "rsa", "--alg", alg, "--file", "enc") == b"a document",
               f"{alg} wrapped")
    value = cli.out("key", "wrap", "rsa", "--file", "-", stdin=b"\1\0").decode().strip()
    expect(cli.out("key", "unwrap", "rsa", "--value", value) == b"\1\0", "raw bytes")
    expect(cli.json("key", "wrap", "rsa", "--file", "doc")["kid"], "the body")
    cli.fails(NOT_FOUND, "object.not-found", "key", "wrap", "absent", "--file", "doc")
    cli.fails(USAGE, "cli.bad-flag", "key", "wrap", "rsa")
    cli.fails(USAGE, "cli.bad-flag", "key", "unwrap", "rsa")
    drawn = {cli.out("key", "random") for _ in range(3)}
    expect(len(drawn) == 3 and all(len(one) == 44 for one in drawn), "32 bytes, never the same")
    cli.run("key", "random", "--bytes", "128", "--out", "random")
    expect(len((work / "random").read_bytes()) == 128, "raw bytes")
    expect(len(cli.json("key", "random", "--bytes", "1")["value"]) == 2, "the body")
    for count in ("0", "129", "x"):
        cli.fails(USAGE, "cli.bad-flag", "key", "random", "--bytes", count)
    cli.run("key", "create", "crypt-only", "--type", "RSA", "--ops", "encrypt,decrypt")
    cli.fails(DENIED, "key.op-not-permitted", "key", "wrap", "crypt-only", "--file", "doc")
    value = cli.out("key", "encrypt", "rsa", "--file", "-", stdin=b"\0\xff").decode().strip()
    expect(cli.out("key", "decrypt", "rsa", "--value", value) == b"\0\xff", "raw bytes")
    cli.fails(USAGE, "cli.bad-flag", "key", "sign", "rsa", "--alg", "XX", "--file", "doc")
    cli.fails(USAGE, "cli.bad-flag", "key", "sign", "rsa")
    cli.fails(USAGE, "cli.bad-flag", "key", "verify", "rsa", "--file", "doc")
    cli.fails(USAGE, "cli.bad-flag", "key", "verify", "rsa", "--file", "doc", "--value", "*")
    cli.run("key", "sign", "rsa", "--alg", "ES256", "--file", "doc", code=FAILED)
    cli.run("key", "sign", "ed", "--file", "doc", code=DENIED)
    cli.run("key", "encrypt", "ec-P-256", "--file", "doc", code=FAILED)
    (work / "long").write_bytes(b"x" * 400)
    cli.run("key", "encrypt", "rsa", "--file", "long", code=FAILED)


def usage(cli, work):
    """What was done with a key: as many more signatures as were asked for."""
    def signatures():
        rows = cli.json("key", "usage", "ec-P-384")
        return sum(row["operations"].get("sign", 0) for row in rows)

    cli.run("key", "sign", "ec-P-384", "--file", "doc")
    before = signatures()
    for _ in range(3):
        cli.run("key", "sign", "ec-P-384", "--file", "doc")
    expect(signatures() == before + 3, "three signatures more")
    table = cli.out("key", "usage")
    expect(b"ec-p-384 " in table, f"the table has the key: {table.decode()}")


def uri_pem(cli, dev, work):
    for name in ("rsa", "ec-P-384", "i-ed"):
        pinned = cli.out("key", "uri-pem", name)
        expect(pinned.startswith(b"-----BEGIN KEYVAULT KEY URI-----\n"), "PEM label")
        (work / "key.uri.pem").write_bytes(pinned)
        kid = cli.json("key", "show", name)["key"]["kid"]
        expect(kid.rsplit("/", 1)[1].encode() in openssl(
            work, "asn1parse", "-in", "key.uri.pem"), "the version is inside")
        done = dev.run("openssl", "pkey", "-in", work / "key.uri.pem", "-pubout")
        expect(done.stdout.startswith(b"-----BEGIN PUBLIC KEY-----"), "OpenSSL loads it")
    cli.run("key", "uri-pem", "rsa", "--follow", "--out", "follow.pem")
    expect(b"keyvault://default/keys/rsa\n" in openssl(
        work, "asn1parse", "-in", "follow.pem").replace(b"\r", b""), "--follow has no version")
    cli.fails(NOT_FOUND, "object.not-found", "key", "uri-pem", "absent")
    cli.fails(USAGE, "cli.bad-flag", "key", "uri-pem", "rsa", "--follow", "--version", "1" * 32)


def secrets(cli, work):
    cli.run("secret", "set", "s", "--file", "-", "--content-type", "text/plain",
            stdin=b"line 1\nline 2\n")
    expect(cli.out("secret", "get", "s") == b"line 1\nline 2\n", "bytes come back as they were")
    cli.run("secret", "set", "s", "--file", "-", stdin="sn\u00f6w \u2603".encode())
    expect(cli.out("secret", "get", "s").decode() == "sn\u00f6w \u2603", "UTF-8")
    expect(len(cli.json("secret", "versions", "s")) == 2, "versions")
    first = cli.json("secret", "versions", "s")
    old = [v["id"].rsplit("/", 1)[1] for v in first if v.get("contentType") == "text/plain"]
    expect(cli.out("secret", "get", "s", "--version", old[0]) == b"line 1\nline 2\n",
           "an old version")
    raw = os.urandom(4096)
    (work / "raw").write_bytes(raw)
    cli.fails(FAILED, "cli.not-text", "secret", "set", "raw", "--file", "raw")
    cli.run("secret", "set", "raw", "--file", "raw", "--encoding", "base64")
    expect(cli.out("secret", "get", "raw") == raw, "any bytes with base64")
    cli.run("secret", "get", "raw", "--out", "raw.out")
    expect((work / "raw.out").read_bytes() == raw
           and (work / "raw.out").stat().st_mode & 0o777 == 0o600, "--out is 0600")
    done = cli.run("secret", "set", "v", "--value", "visible")
    expect(b"warning" in done.stderr and b"visible" not in done.stdout, "--value warns")
    expect(cli.json("secret", "get", "v")["value"] == "visible", "--json is the body")
    expect(b"visible" not in cli.out("secret", "show", "v"), "show hides the value")
    (work / "big").write_bytes(b"x" * 25600)
    cli.run("secret", "set", "big", "--file", "big")
    expect(cli.out("secret", "get", "big") == b"x" * 25600, "25,600 bytes")
    (work / "big").write_bytes(b"x" * 25601)
    cli.fails(FAILED, "cli.input-too-big", "secret", "set", "big", "--file", "big")
    cli.fails(FAILED, "cli.no-terminal", "secret", "set", "x")
    cli.fails(USAGE, "cli.bad-flag", "secret", "set", "x", "--file", "raw", "--value", "v")
    cli.fails(USAGE, "cli.bad-flag", "secret", "set", "x", "--value", "v", "--encoding", "hex")
    cli.fails(NOT_FOUND, "object.not-found", "secret", "get", "absent")
    for i in range(30):
        cli.run("secret", "set", f"page-{i:02}", "--file", "-", stdin=b"v")
    names = [s["id"].rsplit("/", 1)[1] for s in cli.json("secret", "list")]
    expect(len([n for n in names if n.startswith("page-")]) == 30 and len(names) == len(set(names)),
           "a list over several pages is one array")


def prompt(cli, dev):
    """A terminal is asked twice, without echo."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(dev.build / "keyvault", ["keyvault", "secret", "set", "typed"], cli.env)
    seen = b""

    def read_until(text):
        nonlocal seen
        while text not in seen:
            try:
                seen += os.read(fd, 1024)
            except OSError:
                break
        return text in seen

    expect(read_until(b"Secret: "), "first question")
    os.write(fd, b"typed-secret\n")
    expect(read_until(b"once more: "), "second question")
    os.write(fd, b"typed-secret\n")
    read_until(b"\0never")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(fd)
    expect(status == DONE, f"exit {status}: {seen}")
    expect(b"typed-secret" not in seen, "nothing is echoed")
    expect(cli.out("secret", "get", "typed") == b"typed-secret", "and it was stored")


def access(cli):
    granted = cli.json("access", "grant", "unix:www-data", "--role", "Key Vault Crypto User",
                       "--scope", "keys/rsa")
    expect(granted["role"] == "crypto-user" and granted["scope"] == "/default/keys/rsa",
           "Azure names and short scopes")
    cli.run("access", "grant", "unix:www-data", "--role", "crypto-user", "--scope", "keys/rsa")
    items = cli.json("access", "list")
    expect(len(items) == 1 and items[0]["principal"] == "unix:www-data", "granted once")
    expect(b"crypto-user" in cli.out("access", "list"), "table")
    expect(b"the role crypto-user of unix:www-data on /default/keys/rsa"
           in cli.out("access", "check", "unix:www-data", "sign", "keys/rsa"), "and why")
    told = cli.json("access", "check", "unix:www-data", "keys/sign", "/default/keys/rsa")
    expect(told["allowed"] and told["model"] == "roles", "the decision in JSON")
    cli.run("access", "revoke", "unix:www-data", "--role", "crypto-user", "--scope", "keys/rsa")
    expect(cli.json("access", "list") == [], "revoked")
    denied = cli.fails(DENIED, "access.denied", "access", "check", "unix:www-data", "sign",
                       "keys/rsa")
    expect("keyvault access grant unix:www-data --role tls-server --scope /default/keys/rsa"
           in denied, "and the grant that helps")
    cli.fails(USAGE, "cli.bad-flag", "access", "check", "unix:no-such-user", "get", "keys/rsa")
    cli.fails(FAILED, "access.bad-action", "access", "check", "app:x", "fly", "keys/rsa")
    cli.fails(NOT_FOUND, "access.not-found", "access", "revoke", "unix:www-data",
              "--role", "crypto-user", "--scope", "keys/rsa")
    cli.fails(USAGE, "cli.bad-flag", "access", "grant", "unix:www-data")
    cli.fails(FAILED, "access.bad-role", "access", "grant", "unix:x", "--role", "emperor")
    cli.fails(FAILED, "access.bad-principal", "access", "grant", "x", "--role", "reader")
    cli.fails(FAILED, "access.bad-scope", "access", "grant", "unix:x", "--role", "reader",
              "--scope", "/a/b/c/d")


def elsewhere(cli, dev, work):
    """Vaults, https, and everything that is not there."""
    url = cli.env["KEYVAULT_URL"]
    cli.run("key", "list", "--vault", "default")
    cli.fails(NOT_FOUND, "cli.no-vault", "key", "list", "--vault", "nowhere")
    cli.fails(NOT_FOUND, "cli.no-vault", "key", "list", env={"KEYVAULT_VAULT": "nowhere"})
    cli.fails(USAGE, "cli.bad-flag", "key", "list", "--vault", "a.b")
    over_https = {"KEYVAULT_API": url}
    expect(cli.json("key", "list", env=over_https) == cli.json("key", "list"), "https")
    cli.run("secret", "set", "h", "--file", "-", stdin=b"over TLS", env=over_https)
    expect(cli.out("secret", "get", "h", env=over_https) == b"over TLS", "a PUT over https")
    cli.fails(DENIED, "api.unauthorized", "key", "list",
              env={**over_https, "KEYVAULT_TOKEN": "x"})
    cli.fails(FAILED, "cli.tls", "key", "list", env={**over_https, "KEYVAULT_CA": ""})
    cli.fails(FAILED, "cli.bad-ca", "key", "list",
              env={**over_https, "KEYVAULT_CA": str(work / "doc")})
    cli.fails(FAILED, "cli.bad-api", "key", "list", env={"KEYVAULT_API": "http://x"})
    cli.fails(UNREACHABLE, "cli.unreachable", "key", "list",
              env={"KEYVAULT_API": "unix:/nowhere/api.sock"})
    cli.fails(UNREACHABLE, "cli.unreachable", "status",
              env={"KEYVAULT_API": "https://127.0.0.1:1"})
    cli.fails(FAILED, "cli.bad-reply", "status",
              env={"KEYVAULT_API": "unix:" + cli.env["KEYVAULT_KEYS_SOCKET"]})
    status = cli.json("status")
    expect(status["state"] == "ready" and status["vaults"][0]["name"] == "default", "status")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([dev.build / "keyvault", "key", "list"], env=cli.env,
                              stdout=full, stderr=subprocess.PIPE)
    expect(done.returncode == FAILED and b"cli.output" in done.stderr, "a full disk is noticed")


def doctor(cli):
    lines = cli.out("doctor").decode().splitlines()
    expect(lines and all(line.startswith(("ok ", "warn")) for line in lines), "\n".join(lines))
    expect({line.split()[1] for line in lines} >=
           {"daemon", "clock", "disk", "keys", "twin", "openssl.cnf", "module", "server-uid"},
           "all checks")
    expect(b"may sign" in cli.out("doctor", "keyvault:rsa"), "a grant")
    expect({f["result"] for f in cli.json("doctor")} <= {"ok", "warn"}, "JSON")
    done = cli.run("doctor", "keyvault:absent", code=FAILED)
    expect(b"FAIL  key" in done.stdout and b"->" in done.stdout, "no such key")
    cli.fails(USAGE, "cli.bad-flag", "doctor", "--as", "no-such-user")


def helps(cli):
    """Help of everything; completion that the shells accept."""
    text = cli.out("--help").decode()
    commands = re.findall("^  ([a-z].*?)(?:  .*)?$", text, re.MULTILINE)
    expect(len(commands) > 20, "the list of commands")
    for command in commands:
        words = [w for w in command.split() if w.islower() and "|" not in w and "[" not in w]
        expect(cli.out(*words, "--help").startswith(b"usage: keyvault "), command)
    expect(cli.out("--version").startswith(b"keyvault "), "version")
    cli.fails(USAGE, "cli.usage")
    cli.fails(USAGE, "cli.usage", "frobnicate")
    script = cli.out("completion", "bash")
    subprocess.run(["bash", "-n"], input=script, check=True)
    manual = (HERE.parents[3] / "docs/man/keyvault.1").read_text()
    for command in commands:
        words = [w for w in command.split() if w.islower() and "|" not in w and "[" not in w]
        alike = f"Ic NOUN {words[-1]}" if words[0] in ("key", "secret", "cert") else "-"
        expect(f"Ic {' '.join(words)}" in manual or alike in manual, f"the manual has no {words}")
    words = subprocess.run(
        ["bash", "-c", script.decode() +
         "COMP_WORDS=(keyvault key create x --t); COMP_CWORD=4; _keyvault;"
         "echo ${COMPREPLY[@]}; COMP_WORDS=(keyvault se); COMP_CWORD=1; _keyvault;"
         "echo ${COMPREPLY[@]}"], check=True, stdout=subprocess.PIPE).stdout.decode()
    expect(words.splitlines() == ["--type --tag --tags", "secret"], f"bash completes: {words}")
    for shell in ("zsh", "fish"):
        expect(b"uri-pem" in cli.out("completion", shell), shell)
    cli.fails(USAGE, "cli.bad-flag", "completion", "tcsh")


def daemon_gone(cli, dev):
    dev.stop()
    cli.fails(UNREACHABLE, "cli.unreachable", "key", "list")
    done = cli.run("doctor", code=FAILED)
    expect(b"FAIL  daemon" in done.stdout and b"FAIL  keys" in done.stdout, "doctor sees it")


def main():
    with Dev(sys.argv[1]) as dev:
        cli = Cli(dev)
        work = dev.work
        for step in (lambda: keys(cli, work), lambda: bad_keys(cli),
                     lambda: imports(cli, work), lambda: crypto(cli, work),
                     lambda: usage(cli, work),
                     lambda: uri_pem(cli, dev, work), lambda: secrets(cli, work),
                     lambda: prompt(cli, dev), lambda: access(cli),
                     lambda: elsewhere(cli, dev, work), lambda: doctor(cli),
                     lambda: helps(cli), lambda: daemon_gone(cli, dev)):
            step()
        print(f"{cli.n} commands, as expected")


if __name__ == "__main__":
    main()
