"""keyvault doctor: break something, read the diagnosis, run the cure, all is well.

    python3 tests/integration/cli/doctor.py BUILD

Over a real keyvaultd --dev; what a whole vault never shows is played by a fake API.
Rights outside --dev and a full disk are in ../provider/rights.py.
"""
import base64
import http.server
import json
import os
import pathlib
import pwd
import re
import socketserver
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2] / "support"))
sys.path.insert(0, str(HERE.parents[1] / "provider"))
from api import Api  # noqa: E402
from checks import expect, finish  # noqa: E402
from dev import Dev  # noqa: E402
from reasons import Keys  # noqa: E402

IS_ROOT = os.geteuid() == 0
OTHER = "www-data"


class Doctor:
    def __init__(self, dev):
        self.dev = dev
        self.env = dict(dev.env)

    def look(self, *args, env=None):
        """Findings by check; the last of each."""
        done = subprocess.run([self.dev.build / "keyvault", "doctor", "--json",
                               *map(str, args)], env=env or self.env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        found = json.loads(done.stdout)
        failed = any(f["result"] == "FAIL" for f in found)
        if done.returncode != (1 if failed else 0):
            raise AssertionError(f"exit {done.returncode}: {done.stderr.decode()}")
        return {f["check"]: f for f in found}

    def healthy(self, what, *args, env=None):
        found = self.look(*args, env=env)
        bad = [f for f in found.values() if f["result"] == "FAIL"]
        expect(not bad, what, bad)
        return found

    def fails(self, check, message, *args, env=None, result="FAIL"):
        finding = self.look(*args, env=env).get(check, {})
        expect(finding.get("result") == result and re.search(message, finding["message"]),
               f"{check}: {message}", finding)
        return finding.get("cure", "")

    def cured(self, check, message, *args, env=None, result="FAIL", after=()):
        """Fails, names a command, and is healthy when that was run."""
        cure = self.fails(check, message, *args, env=env, result=result)
        script = f"{cure}\nkeyvault doctor {' '.join(map(str, after or args))}"
        done = subprocess.run(["sh", "-ec", script], env=env or self.env, cwd=self.dev.work,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        expect(done.returncode == 0, f"{check}: cured", f"{cure}\n{done.stdout.decode()}")
        return cure


def with_conf(doctor, name, change):
    """An environment with a changed openssl.cnf."""
    text = (doctor.dev.dir / "openssl.cnf").read_text()
    path = doctor.dev.work / f"{name}.cnf"
    changed = change(text)
    if changed == text:
        raise AssertionError(f"{name} changes nothing")
    path.write_text(changed)
    return {**doctor.env, "OPENSSL_CONF": str(path)}


LIST = "default = default_sect\nkeyvault = keyvault_sect\n"


def openssl_cnf(doctor):
    def conf(name, old, new):
        return with_conf(doctor, name, lambda text: text.replace(old, new))

    doctor.cured("openssl.cnf", "keyvault before default", env=conf(
        "order", LIST, "keyvault = keyvault_sect\ndefault = default_sect\n"))
    doctor.cured("openssl.cnf", "keyvault but not default", env=conf(
        "inactive", "[default_sect]\nactivate = 1", "[default_sect]"))
    cure = doctor.fails("openssl.cnf", "does not list default", env=conf(
        "no-default", "default = default_sect\n", ""))
    expect("default = default_sect" in cure and "[provider_sect]" in cure, "it says what to add")
    doctor.cured("openssl.cnf", "does not activate the keyvault", env=with_conf(
        doctor, "sleeping", lambda text: re.sub(r"(module = .*\n)activate = 1\n", r"\1", text)))
    cure = doctor.cured("openssl.cnf", "does not activate the keyvault", env=conf(
        "absent", "keyvault = keyvault_sect\n", ""))
    expect(cure == f"export OPENSSL_CONF={doctor.dev.dir}/openssl.cnf", "it names the good one")
    cure = doctor.fails("openssl.cnf", "does not activate", env={
        **doctor.env, "OPENSSL_CONF": "/dev/null", "KEYVAULT_KEYS_SOCKET": "/nowhere/x.sock"})
    expect("keyvault-provider(7)" in cure, "or the manual")
    doctor.cured("properties", "prefers keyvault", env=conf(
        "preferred", "[openssl_init]\n", "[openssl_init]\nalg_section = algs\n[algs]\n"
        "default_properties = ?provider=keyvault\n[openssl_init]\n"))
    doctor.fails("openssl.cnf", "cannot be read", env=with_conf(
        doctor, "broken", lambda text: text + "[unclosed\n"))
    doctor.fails("module", "does not load for .*/nowhere/", env=with_conf(
        doctor, "module", lambda text: text.replace("module = ", "module = /nowhere")))
    doctor.fails("module", "invalid ELF header|file too short", env=with_conf(
        doctor, "no-module", lambda text: re.sub(r"module = .*", "module = /etc/passwd", text)))
    renamed = conf("renamed", "keyvault = keyvault_sect\n", "vault = keyvault_sect\n")
    doctor.healthy("the provider may have another name", env=renamed)


def server_uid(doctor):
    uid = os.geteuid()
    doctor.cured("server-uid", f"expects uid {uid + 1}, but uid {uid}", env=with_conf(
        doctor, "uid", lambda text: re.sub(r"server-uid = .*", f"server-uid = {uid + 1}", text)))
    doctor.cured("server-uid", "expects uid root", env=with_conf(
        doctor, "word", lambda text: re.sub(r"server-uid = .*", "server-uid = root", text)))
    env = with_conf(doctor, "unset", lambda text: re.sub(r"server-uid = .*\n", "", text))
    found = doctor.healthy("without it root and the own user are trusted", env=env)
    expect(found["server-uid"]["message"].startswith("not set"), "which is said")
    included(doctor, uid)


def included(doctor, uid):
    """What stands in a file that is included counts, but no sed finds it in the first."""
    env = with_conf(doctor, "included", lambda text: re.sub(
        r"server-uid = .*", f"server-uid = {uid + 1}", text))
    main = doctor.dev.work / "main.cnf"
    main.write_text(f".include {env['OPENSSL_CONF']}\n")
    env["OPENSSL_CONF"] = str(main)
    cure = doctor.fails("server-uid", f"expects uid {uid + 1}", env=env)
    expect(cure == f"write 'server-uid = {uid}' into [keyvault_sect] of {main}", "included", cure)


def sockets(doctor):
    other = {**doctor.env, "KEYVAULT_KEYS_SOCKET": str(doctor.dev.dir / "x" / "../keys.sock")}
    (doctor.dev.dir / "x").mkdir()
    doctor.cured("socket", "KEYVAULT_KEYS_SOCKET names", env=other, result="warn")
    doctor.fails("keys", "cannot|No such file", env={
        **doctor.env, "KEYVAULT_KEYS_SOCKET": "/nowhere/keys.sock"})
    doctor.fails("keys", "does not speak|connection closed", env={
        **doctor.env, "KEYVAULT_KEYS_SOCKET": str(doctor.dev.dir / "api.sock")})


def as_another(doctor):
    """What root sees and a web server's user does not."""
    if not IS_ROOT:
        return
    uid = str(pwd.getpwnam(OTHER).pw_uid)
    found = doctor.healthy("another user signs", "--as", OTHER, "keyvault:good")
    expect(found["grant"]["message"].startswith(f"{OTHER} may sign"), "by name")
    found = doctor.healthy("by number", "--as", uid, "keyvault:good")
    expect(found["grant"]["message"].startswith(f"{OTHER} may sign"), "the same user")
    found = doctor.healthy("a number without a name", "--as", "3999999999", "keyvault:good")
    expect(found["grant"]["message"].startswith("3999999999 may sign"), "is a user too")
    done = doctor.dev.run(doctor.dev.build / "keyvault", "doctor", "--as", "no-such-user",
                          check=False)
    expect(done.returncode == 2 and b"cli.bad-flag" in done.stderr, "a user that nobody has")
    env = with_conf(doctor, "closed", lambda text: text + "\n")
    os.chmod(env["OPENSSL_CONF"], 0o600)
    doctor.cured("openssl.cnf", f"cannot be read by {OTHER}", "--as", OTHER, env=env)
    hidden = doctor.dev.work / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "keyvault.so").write_bytes((doctor.dev.build / "keyvault.so").read_bytes())
    env = with_conf(doctor, "hidden", lambda text: re.sub(
        r"module = .*", f"module = {hidden}/keyvault.so", text))
    doctor.healthy("root loads the module", env=env)
    doctor.fails("module", f"does not load for {OTHER}.*Permission denied", "--as", OTHER, env=env)
    doctor.dev.dir.chmod(0o700)
    doctor.cured("keys", "Permission denied", "--as", OTHER)


def as_himself(doctor):
    """Who may not administer is told less, and nothing wrong."""
    if not IS_ROOT:
        return
    run = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups",
           doctor.dev.build / "keyvault", "doctor"]
    done = doctor.dev.run(*run, "keyvault:good", check=False)
    text = done.stdout.decode()
    expect(done.returncode == 0 and f"{OTHER} may sign" in text and "warn  daemon" in text,
           "a user for himself", text)
    doctor.dev.cli("cert", "update", "off", "--disabled")
    done = doctor.dev.run(*run, "keyvault:off", check=False)
    expect(done.returncode == 1 and b"FAIL  grant" in done.stdout and b"disabled" in done.stdout,
           "and why a key is refused")
    done = doctor.dev.run(*run, "--as", "nobody", "keyvault:good", check=False)
    expect(done.returncode == 0 and b"only root can act" in done.stdout,
           "not for others", done.stdout.decode())


def names(doctor):
    for uri in ("keyvault:///", "keyvault:a_b", "keyvault:///x/y", "keyvault:///keys/",
                "/etc/passwd", "/nowhere/web.pem"):
        expect(doctor.fails("uri", ".", uri) != "", f"{uri}: says what to write")
    found = doctor.healthy("a certificate's name is a key's", "keyvault:///certificates/good")
    expect(found["uri"]["message"] == "keyvault:///keys/good", "uri")


def objects(doctor, keys):
    keys.cert("good")
    keys.cert("off", "--disabled")
    keys.key("off-key", "--disabled")
    keys.key("checks", "--ops", "verify")
    keys.key("early", "--not-before", str(int(time.time()) + 3600))
    keys.key("late", "--expires", str(int(time.time()) + 2))
    found = doctor.healthy("a good key", "keyvault:good")
    expect({"uri", "key", "enabled", "dates", "operations", "certificate", "grant"}
           <= found.keys(), "has a line for each thing")
    doctor.healthy("a good key file", keys.dir / "good.uri.pem")
    names(doctor)
    doctor.cured("key", "there is no key 'new'", "keyvault:new")
    expect("versions" in doctor.fails("key", "there is no key", "keyvault:///keys/good/" + "1" * 32),
           "of a version")
    doctor.cured("enabled", "of 'off-key' is disabled", "keyvault:off-key")
    doctor.cured("enabled", "of 'off' is disabled", "keyvault:off")
    doctor.fails("dates", "key 'early' is not valid before", "keyvault:early")
    doctor.cured("operations", r"'checks' \(verify\) do not include sign", "keyvault:checks")
    time.sleep(2)
    doctor.cured("dates", "key 'late' expired on", "keyvault:late")
    doctor.dev.cli("cert", "create", "own", "--issuer", "Self", "--subject", "CN=own",
                   "--validity-hours", "24")
    doctor.cured("dates", "certificate 'own' expires on", "keyvault:own", result="warn")
    listed = json.loads(doctor.dev.cli("cert", "versions", "own", "--json"))
    expect(len(listed) == 2, "the cure ordered another version", listed)


def versions(doctor, keys):
    keys.key("twice")
    file = keys.dir / "twice.uri.pem"
    old = file.read_text()
    doctor.dev.cli("key", "create", "twice", "--type", "EC")
    cure = doctor.fails("version", "is named, the newest is", file, result="warn")
    expect("keyvault key uri-pem twice" in cure, "the key file is written again")
    keys.write("twice")
    expect("version" not in doctor.look(file), "which helps")
    point = 65

    def der(text):
        return base64.b64decode("".join(text.splitlines()[1:-1]))

    lie = der(old)[:-point] + der(file.read_text())[-point:]
    file.write_text("-----BEGIN KEYVAULT KEY URI-----\n" + base64.encodebytes(lie).decode()
                    + "-----END KEYVAULT KEY URI-----\n")
    doctor.cured("key file", "holds another public key", file)


def deleted(doctor, keys):
    keys.key("gone")
    api = Api(doctor.dev.dir / "api.sock")
    expect(api.call("DELETE", "/keys/gone")[0] == 200, "delete")
    doctor.fails("key", "the key 'gone' was deleted", "keyvault:gone")
    expect(api.call("POST", "/deletedkeys/gone/recover")[0] == 200, "recover")
    doctor.healthy("a recovered key", "keyvault:gone")
    api.close()


# --- a service that is not well ------------------------------------------------------


class Fake(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def fake(path, pages):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            page = pages.get(self.path.split("?")[0])
            data = json.dumps(page if page is not None else {}).encode()
            self.send_response(200 if page is not None else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = Fake(str(path), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def sick_service(doctor, keys):
    def b64u(data):
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    good = doctor.dev.run("openssl", "x509", "-in", keys.dir / "good.crt", "-pubkey", "-noout")
    point = base64.b64decode("".join(good.stdout.decode().splitlines()[1:-1]))[-64:]
    off = "".join((keys.dir / "off.crt").read_text().splitlines()[1:-1])
    kid = "https://x/keys/web/" + "1" * 32
    pages = {
        "/keyvault/v1/status": {"state": "ready", "version": "1", "vaults": []},
        "/keyvault/v1/doctor": {"time": int(time.time()) - 7200, "grant": {
            "principal": "unix:nobody", "mayRead": True, "operations": ["verify", 5]},
            "store": {"path": "/data", "freeBytes": 1 << 20, "totalBytes": 1 << 30}},
        "/keys/web": {"managed": True, "attributes": {"enabled": True}, "key": {
            "kid": kid, "kty": "EC", "crv": "P-256", "key_ops": ["sign"],
            "x": b64u(point[:32]), "y": b64u(point[32:])}},
        f"/certificates/web/{'1' * 32}": {"cer": off},
    }
    path = doctor.dev.work / "fake.sock"
    server = fake(path, pages)
    env = {**doctor.env, "KEYVAULT_API": f"unix:{path}"}
    doctor.fails("clock", "72[0-9][0-9] s apart", env=env)
    expect("/data" in doctor.fails("disk", "1 MiB are free in /data", env=env), "disk: where")
    doctor.fails("certificate", "carries another key", "keyvault:web", env=env)
    pages[f"/certificates/web/{'1' * 32}"]["cer"] = "".join(
        (keys.dir / "good.crt").read_text().splitlines()[1:-1])
    pages["/keyvault/v1/doctor"]["store"]["freeBytes"] = 100 << 20
    expect(doctor.look("keyvault:web", env=env)["certificate"]["result"] == "ok", "the right one")
    doctor.fails("disk", "100 MiB are free", env=env, result="warn")
    pages["/keyvault/v1/status"]["state"] = "sealed"
    expect(doctor.fails("daemon", "is sealed", env=env) == "keyvault slot open", "sealed")
    if IS_ROOT:
        rights_by_api(doctor, path, pages)
    server.shutdown()


def rights_by_api(doctor, path, pages):
    """An administrator who is not root asks about another user."""
    path.chmod(0o666)
    env = {**doctor.dev.env, "KEYVAULT_API": f"unix:{path}"}
    run = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups",
           doctor.dev.build / "keyvault", "doctor", "--as", "nobody", "keyvault:web"]
    done = subprocess.run(run, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expect(b"FAIL  grant        the roles of unix:nobody do not allow signing" in done.stdout
           and b"keyvault access grant unix:nobody --role tls-server --scope keys/web"
           in done.stdout, "the roles of another user", done.stdout.decode())
    pages["/keyvault/v1/doctor"]["grant"]["operations"] = ["sign"]
    done = subprocess.run(run, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expect(b"ok    grant        the roles of unix:nobody allow signing" in done.stdout,
           "which may suffice", done.stdout.decode())


def daemon_gone(doctor, dev):
    dev.stop()
    for check in ("daemon", "keys"):
        cure = doctor.fails(check, ".")
        expect(cure == f"keyvaultd --dev {dev.dir}", f"{check}: how it is started", cure)
    dev.start()
    doctor.healthy("and all is well")


def main():
    with Dev(sys.argv[1]) as dev:
        doctor = Doctor(dev)
        doctor.healthy("a new installation")
        keys = Keys(dev)
        objects(doctor, keys)
        versions(doctor, keys)
        deleted(doctor, keys)
        openssl_cnf(doctor)
        server_uid(doctor)
        sockets(doctor)
        as_himself(doctor)
        as_another(doctor)
        sick_service(doctor, keys)
        daemon_gone(doctor, dev)
    finish(__file__)


if __name__ == "__main__":
    main()
