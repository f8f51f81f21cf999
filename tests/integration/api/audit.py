"""The audit log of a real daemon: what is in it, what is found when it is damaged, and that
nothing is done when it cannot be written.

    python3 tests/integration/api/audit.py BUILD
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from api import Api, Https  # noqa: E402
from cli import FAILED, NOT_FOUND, Cli, expect  # noqa: E402
from dev import Dev, stop, wait_for  # noqa: E402


def segments(directory):
    return sorted(directory.glob("audit-*.log"))


def records(directory):
    return [json.loads(line) for path in segments(directory)
            for line in path.read_text().splitlines()]


def of(directory, kind, **members):
    return [r for r in records(directory) if r["type"] == kind
            and all(r.get(name) == value for name, value in members.items())]


def check_calls(dev, audit):
    """Every call has its two records, and no secret is in them."""
    api = Api(dev.dir / "api.sock")
    expect(api.send("PUT", "/secrets/pin", {"value": "4711-4711"}).status == 200, "set")
    expect(api.send("GET", "/secrets/pin").status == 200, "get")
    expect(api.send("GET", "/secrets/absent").status == 404, "absent")
    api.close()
    asked = of(audit, "req", op="setSecret", name="pin")
    expect(len(asked) == 1 and asked[0]["decision"] == "allow", f"{asked}")
    came = of(audit, "res", id=asked[0]["id"])
    expect(len(came) == 1 and came[0]["status"] == 200, f"{came}")
    expect(came[0]["seq"] > asked[0]["seq"], "the result stands behind")
    expect(of(audit, "res", error="object.not-found"), "a refusal has its id")
    guest = Https(dev, token=False)
    expect(guest.send("GET", "/secrets/pin").status == 401, "no token")
    guest.close()
    wait_for("the refusal is told", lambda: of(audit, "refuse", status=401))
    text = b"".join(path.read_bytes() for path in segments(audit))
    expect(b"4711-4711" not in text, "a value is in the log")
    expect(dev.env["KEYVAULT_TOKEN"].encode() not in text, "a token is in the log")


def check_keys(dev, cli, audit):
    """A key that OpenSSL uses: the grant, then how often."""
    cli.run("key", "create", "web", "--type", "EC")
    data = dev.work / "data"
    data.write_bytes(b"x" * 32)
    for _ in range(3):
        done = subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey",
                               "keyvault:///keys/web", "-in", data, "-out",
                               dev.work / "sig"], env=dev.env, capture_output=True)
        expect(done.returncode == 0, done.stderr.decode())
    grants = of(audit, "grant", name="web")
    expect(grants and grants[0]["uid"] == os.geteuid(), f"{grants}")


def check_damage(dev, cli, audit):
    """Each way to damage the log, on a copy of it."""
    def flip(path):
        path.write_bytes(path.read_bytes().replace(b'"op":"setSecret"', b'"op":"getSecret"', 1))

    def lines(change):
        def apply(path):
            path.write_bytes(b"".join(change(path.read_bytes().splitlines(True))))
        return apply

    damages = {
        "flip": flip,
        "drop": lines(lambda l: l[:3] + l[4:]),
        "reorder": lines(lambda l: l[:3] + [l[4], l[3]] + l[5:]),
        "truncate": lines(lambda l: l[:-3]),
    }
    for name, damage in damages.items():
        copy = dev.work / name
        shutil.copytree(audit, copy)
        damage(segments(copy)[0])
        report = json.loads(cli.run("audit", "verify", copy, "--state", dev.dir, "--json",
                                    code=FAILED).stdout)
        expect(report["findings"][0]["what"] == name, f"{name}: {report}")
        expect(report["findings"][0]["file"], "the file is named")
    copy = dev.work / "splice"
    shutil.copytree(audit, copy)
    with Dev(dev.build) as stranger:
        Cli(stranger).run("secret", "set", "a", "--file", "-", stdin=b"x")
        shutil.copy(segments(stranger.dir / "audit")[0], segments(copy)[-1])
    report = json.loads(cli.run("audit", "verify", copy, "--state", dev.dir, "--json",
                                code=FAILED).stdout)
    expect(report["findings"][0]["what"] in ("splice", "reorder"), f"{report}")
    empty = dev.work / "empty"
    empty.mkdir()
    report = json.loads(cli.run("audit", "verify", empty, "--state", dev.dir, "--json",
                                code=FAILED).stdout)
    expect(report["findings"][0]["what"] == "truncate", f"{report}")


def check_full(build):
    """A full disk: no call is served but the state, and all goes on when there is room."""
    work = Dev(build)
    audit = work.work / "small"
    audit.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m,mode=700", "tmpfs",
                              audit], capture_output=True).returncode == 0
    if not mounted:
        print("not run: a full disk (needs root and mount)")
        return
    try:
        config = work.work / "keyvault.conf"
        config.write_text(f'audit {{\n  directory = "{audit}"\n}}\n')
        work.options += ["--config", config]
        with work as dev:
            api = Api(dev.dir / "api.sock")
            expect(api.send("PUT", "/secrets/a", {"value": "1"}).status == 200, "before")
            (audit / "filler").write_bytes(b"")
            with open(audit / "filler", "wb", 0) as filler:
                try:
                    while True:
                        filler.write(b"x" * 4096)
                except OSError:
                    pass

            def is_stopped():
                return api.send("PUT", "/secrets/a", {"value": "2"}).status == 503

            wait_for("the log stops", is_stopped)
            reply = api.send("PUT", "/secrets/b", {"value": "2"})
            expect(reply.status == 503 and reply.error("code") == "ServiceUnavailable",
                   f"{reply.status} {reply.body}")
            expect(api.send("GET", "/secrets/a").status == 503, "reads stop, too")
            expect(api.send("GET", "/keyvault/v1/status", version=None).status == 200,
                   "health works")
            expect(of(audit, "stop"), "the stop is on record")
            (audit / "filler").unlink()
            wait_for("it goes on", lambda: api.send("GET", "/secrets/b").status == 404)
            expect(api.send("PUT", "/secrets/b", {"value": "3"}).status == 200, "after")
            api.close()
            Cli(dev).run("audit", "verify")
    finally:
        subprocess.run(["umount", audit], check=True)


def check_kill(dev, cli, audit):
    """A service that is killed begins a new segment, and the log stays whole."""
    before = len(segments(audit))
    os.kill(dev.role_pid("keyvault-service"), signal.SIGKILL)
    wait_for("a new segment", lambda: len(segments(audit)) > before)
    wait_for("the service is back", lambda: subprocess.run(
        [dev.build / "keyvault", "audit", "verify"], env=dev.env,
        capture_output=True).returncode == 0)


def check_two_users(dev, cli, audit):
    """Root checks the log of a keyring that has a user of its own."""
    if os.geteuid() != 0:
        print("not run: a keyring of another user (needs root)")
        return
    for path in (dev.work, dev.dir):
        path.chmod(0o755)
    ring = dev.dir / "keyring"
    for path in (ring, *ring.iterdir()):
        os.chown(path, 65534, 65534)
    cli.run("audit", "verify", audit)


def main():
    build = pathlib.Path(sys.argv[1])
    with Dev(build) as dev:
        cli = Cli(dev)
        audit = dev.dir / "audit"
        check_calls(dev, audit)
        check_keys(dev, cli, audit)
        report = cli.json("audit", "verify")
        expect(report["nFindings"] == 0 and report["records"] > 10, f"{report}")
        shown = cli.json("audit", "show", "--since", "1h")
        expect(any(r.get("op") == "setSecret" for r in shown), "show")
        check_kill(dev, cli, audit)
        stop(dev.process)
        uses = of(audit, "use", name="web")
        expect(sum(r["sign"] for r in uses) == 3, f"{uses}")
        cli.run("audit", "verify", audit)
        check_two_users(dev, cli, audit)
        check_damage(dev, cli, audit)
        cli.fails(NOT_FOUND, "audit.no-directory", "audit", "verify", dev.work / "absent",
                  "--state", dev.dir)
    check_full(build)
    print("ok")


if __name__ == "__main__":
    main()
