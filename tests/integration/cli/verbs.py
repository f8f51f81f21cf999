"""The verbs that keys, secrets and certificates share, and contacts and issuers: each
with success, not found, denied, bad input and --json.

    python3 tests/integration/cli/verbs.py BUILD
"""
import os
import pathlib
import pty
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from cli import DENIED, DONE, FAILED, NOT_FOUND, USAGE, Cli, expect  # noqa: E402
from dev import Dev  # noqa: E402

DAY = 86400


def make(cli, noun, name, *flags):
    """An object of this kind; its current version."""
    if noun == "key":
        made = cli.json("key", "create", name, "--type", "EC", *flags)
    elif noun == "secret":
        made = cli.json("secret", "set", name, "--file", "-", *flags, stdin=b"value")
    else:
        made = cli.json("cert", "create", name, "--issuer", "Self", "--subject", f"CN={name}",
                        "--curve", "P-256", *flags)
    return version_of(made)


def id_of(bundle):
    return bundle["key"]["kid"] if "key" in bundle else bundle.get("id", bundle.get("kid"))


def version_of(bundle):
    return id_of(bundle).rsplit("/", 1)[1]


def names_in(items):
    return [id_of(item).rsplit("/", 1)[1] for item in items]


def update(cli, noun):
    name = noun + "-changed"
    first = make(cli, noun, name, "--tag", "a=1,2", "--tag", "b=x=y", "--tags", "c=3,d=")
    made = cli.json(noun, "show", name)
    expect(made["tags"] == {"a": "1,2", "b": "x=y", "c": "3", "d": ""}, "tags of either flag")
    make(cli, noun, name)
    changed = cli.json(noun, "update", name, "--version", first, "--disabled", "--tag", "t=1")
    expect(version_of(changed) == first and changed["attributes"]["enabled"] is False
           and changed["tags"] == {"t": "1"}, "one version, and its tags are replaced")
    expect(cli.json(noun, "show", name)["attributes"]["enabled"] is True, "the other stays")
    changed = cli.json(noun, "update", name, "--version", first, "--enabled", "--no-tags")
    expect(changed["attributes"]["enabled"] is True and not changed.get("tags"), "and back")
    expect(b"enabled       no" in cli.out(noun, "update", name, "--disabled"), "fields")
    cli.run(noun, "update", name, "--enabled")
    if noun != "cert":
        changed = cli.json(noun, "update", name, "--expires", "2055-01-02", "--not-before",
                           "2020-01-01T00:00:00Z")
        expect(changed["attributes"]["exp"] == 2682460800
               and changed["attributes"]["nbf"] == 1577836800, "dates")
        cli.fails(USAGE, "cli.bad-flag", noun, "update", name, "--expires", "tomorrow")
    cli.fails(USAGE, "cli.bad-flag", noun, "update", name)
    cli.fails(USAGE, "cli.bad-flag", noun, "update", name, "--enabled", "--disabled")
    cli.fails(USAGE, "cli.bad-flag", noun, "update", name, "--tag", "novalue")
    cli.fails(USAGE, "cli.bad-flag", noun, "update", name, "--no-tags", "--tag", "a=b")
    cli.fails(USAGE, "cli.bad-flag", noun, "update", "under_score", "--enabled")
    cli.fails(USAGE, "cli.bad-flag", noun, "update", name, "--version", "x", "--enabled")
    cli.fails(USAGE, "cli.usage", noun, "update", name, "--frob")
    cli.fails(FAILED, "api.bad-field", noun, "update", name, "--tags",
              ",".join(f"t{i}=v" for i in range(16)))
    cli.fails(NOT_FOUND, "object.not-found", noun, "update", "absent", "--enabled")
    cli.fails(NOT_FOUND, "object.not-found", noun, "update", name, "--version", "1" * 32,
              "--enabled")


def own_updates(cli):
    key = cli.json("key", "update", "key-changed", "--ops", "verify")
    expect(key["key"]["key_ops"] == ["verify"], "operations of a key")
    cli.fails(FAILED, "api.bad-key-ops", "key", "update", "key-changed", "--ops", "fly")
    cli.fails(USAGE, "cli.bad-flag", "key", "update", "key-changed", "--ops", "sign,,verify")
    secret = cli.json("secret", "update", "secret-changed", "--content-type", "text/plain")
    expect(secret["contentType"] == "text/plain" and "value" not in secret, "a secret's type")
    cli.fails(FAILED, "api.bad-field", "secret", "update", "secret-changed", "--content-type",
              "x" * 256)


def deletion(cli, noun):
    name = noun + "-del"
    first = make(cli, noun, name)
    make(cli, noun, name)
    out = cli.says(f"hint: keyvault {noun} recover {name}", noun, "delete", name).decode()
    expect(f"{name}: deleted, to be purged on 2" in out, out)
    cli.fails(NOT_FOUND, "object.not-found", noun, "show", name)
    listed = cli.json(noun, "list-deleted")
    expect(isinstance(listed, list) and name in names_in(listed), "a bare array")
    item = listed[names_in(listed).index(name)]
    expect(item["scheduledPurgeDate"] - item["deletedDate"] == 90 * DAY
           and item["recoveryId"].endswith(f"s/{name}"), "dates of the list")
    table = cli.out(noun, "list-deleted").decode().splitlines()
    expect(table[0].split() == ["NAME", "DELETED", "(UTC)", "PURGED", "ON"]
           and any(line.startswith(name + " ") for line in table), table)
    expect("deletedDate" in cli.json(noun, "show", name, "--deleted"), "show --deleted")
    expect(b"purged on" in cli.out(noun, "show", name, "--deleted"), "its fields")
    expect(version_of(cli.json(noun, "recover", name)) != first, "recover prints the current")
    expect(len(cli.json(noun, "versions", name)) == 2, "all versions are back")
    expect("recoveryId" in cli.json(noun, "delete", name, "--no-wait"), "--json is the body")
    expect(b"version" in cli.out(noun, "recover", name, "--no-wait"), "fields of the recovered")
    cli.run(noun, "delete", name)
    expect(cli.out(noun, "purge", name, "--yes").decode().endswith(f"{name}: purged\n"), "purge")
    cli.fails(NOT_FOUND, "object.not-deleted", noun, "show", name, "--deleted")
    expect(name not in names_in(cli.json(noun, "list-deleted")), "gone")
    make(cli, noun, name)
    cli.run(noun, "delete", name)
    expect(cli.out(noun, "purge", name, "--yes", "--json") == b"", "purge has no body")


def bad_deletion(cli, noun):
    live = noun + "-live"
    cli.fails(NOT_FOUND, "object.not-found", noun, "delete", "absent")
    cli.fails(NOT_FOUND, "object.not-deleted", noun, "recover", "absent")
    cli.fails(NOT_FOUND, "object.not-deleted", noun, "purge", "absent", "--yes")
    make(cli, noun, live)
    cli.fails(NOT_FOUND, "object.not-deleted", noun, "purge", live, "--yes")
    cli.fails(FAILED, "cli.no-terminal", noun, "purge", live)
    cli.fails(USAGE, "cli.bad-flag", noun, "delete", live, "--version", "1" * 32)
    cli.fails(USAGE, "cli.bad-flag", noun, "show", live, "--deleted", "--version", "1" * 32)
    for verb in ("delete", "recover", "purge"):
        cli.fails(USAGE, "cli.usage", noun, verb)
        cli.fails(USAGE, "cli.bad-flag", noun, verb, "under_score")
    cli.run(noun, "delete", live)
    cli.fails(FAILED, "api.deleted", *{
        "key": ("key", "create", live, "--type", "EC"),
        "secret": ("secret", "set", live, "--file", "-"),
        "cert": ("cert", "create", live, "--issuer", "Self", "--subject", "CN=a")}[noun])
    cli.run(noun, "purge", live, "--yes")


def answer(cli, dev, word, *args):
    """Run with a terminal and type `word`; exit status and all that was shown."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(dev.build / "keyvault", ["keyvault", *args], cli.env)
    seen = b""
    while b"yes or no: " not in seen:
        seen += os.read(fd, 1024)
    os.write(fd, word + b"\n")
    try:
        while True:
            data = os.read(fd, 1024)
            if not data:
                break
            seen += data
    except OSError:
        pass
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(fd)
    return status, seen


def asking(cli, dev):
    """A terminal is asked before anything is destroyed."""
    make(cli, "secret", "asked")
    cli.run("secret", "delete", "asked")
    for word in (b"", b"no", b"y e s"):
        status, seen = answer(cli, dev, word, "secret", "purge", "asked")
        expect(status == FAILED and b"cli.not-confirmed" in seen, f"{word}: {seen}")
    expect("asked" in names_in(cli.json("secret", "list-deleted")), "it is still there")
    status, seen = answer(cli, dev, b"yes", "secret", "purge", "asked")
    expect(status == DONE and b"asked: purged" in seen, seen)
    expect("asked" not in names_in(cli.json("secret", "list-deleted")), "it is gone")


def certificates_take_along(cli):
    make(cli, "cert", "whole")
    cli.fails(DENIED, "api.managed", "key", "delete", "whole")
    cli.fails(DENIED, "api.managed", "secret", "delete", "whole")
    cli.run("cert", "delete", "whole")
    cli.fails(NOT_FOUND, "object.not-found", "key", "show", "whole")
    cli.fails(NOT_FOUND, "object.not-found", "secret", "get", "whole")
    cli.run("cert", "recover", "whole")
    cli.run("key", "show", "whole")
    cli.run("cert", "update", "whole", "--disabled")
    cli.fails(DENIED, "api.secret-disabled", "secret", "get", "whole")
    cli.run("cert", "update", "whole", "--enabled")
    cli.run("secret", "get", "whole")
    cli.fails(DENIED, "api.managed", "secret", "update", "whole", "--disabled")


def contacts(cli):
    expect(cli.json("contact", "list") == [], "none is an empty array")
    cli.run("contact", "add", "a@example.com")
    body = cli.json("contact", "add", "b@example.com", "--name", "B", "--phone", "112")
    expect(body["id"].endswith("/certificates/contacts") and len(body["contacts"]) == 2, "body")
    listed = cli.json("contact", "list")
    expect(listed == [{"email": "a@example.com"},
                      {"email": "b@example.com", "name": "B", "phone": "112"}], listed)
    cli.run("contact", "add", "A@EXAMPLE.COM", "--name", "A")
    listed = cli.json("contact", "list")
    expect(len(listed) == 2 and listed[0]["name"] == "A", "the same address is replaced")
    expect(b"EMAIL" in cli.out("contact", "list"), "table")
    cli.fails(FAILED, "api.bad-field", "contact", "add", "nobody")
    cli.fails(NOT_FOUND, "cli.no-contact", "contact", "remove", "c@example.com")
    cli.fails(USAGE, "cli.usage", "contact", "add")
    cli.run("contact", "remove", "a@example.com")
    expect(len(cli.json("contact", "remove", "B@example.com")["contacts"]) == 1, "what was there")
    expect(cli.json("contact", "list") == [], "the last one is gone")


def issuers(cli, work):
    (work / "ca.pw").write_text("ca-password\n")
    made = cli.json("issuer", "create", "ca", "--type", "DigiCert", "--account", "42",
                    "--password-file", "ca.pw", "--organization", "org", "--admin", "a@b.c",
                    "--admin", "d@e.f")
    expect(made["provider"] == "DigiCert" and made["credentials"] == {"account_id": "42"}, made)
    expect([a["email"] for a in made["org_details"]["admin_details"]] == ["a@b.c", "d@e.f"], made)
    shown = cli.out("issuer", "show", "ca").decode()
    expect("name          ca\n" in shown and "ca-password" not in shown and "d@e.f" in shown, shown)
    changed = cli.json("issuer", "update", "ca", "--account", "43", "--disabled")
    expect(changed["credentials"]["account_id"] == "43" and changed["org_details"]["id"] == "org"
           and changed["attributes"]["enabled"] is False, "the rest stays")
    cli.run("issuer", "create", "other", "--type", "test")
    listed = cli.json("issuer", "list")
    expect([(i["id"].rsplit("/", 1)[1], i["provider"]) for i in listed]
           == [("ca", "DigiCert"), ("other", "Test")], listed)
    expect(cli.out("issuer", "list").decode().splitlines()[1].split() == ["ca", "DigiCert"], "table")
    expect(cli.out("issuer", "delete", "ca") == b"issuer ca: deleted\n", "delete")
    cli.fails(NOT_FOUND, "api.no-issuer", "issuer", "show", "ca")
    cli.fails(NOT_FOUND, "api.no-issuer", "issuer", "update", "ca", "--enabled")
    cli.fails(NOT_FOUND, "api.no-issuer", "issuer", "delete", "ca")
    cli.fails(USAGE, "cli.bad-flag", "issuer", "create", "x")
    cli.fails(USAGE, "cli.bad-flag", "issuer", "update", "other")
    cli.fails(USAGE, "cli.bad-flag", "issuer", "create", "a_b", "--type", "Test")
    cli.fails(FAILED, "api.bad-field", "issuer", "create", "x", "--type", "Acme Inc")
    cli.fails(FAILED, "api.bad-name", "issuer", "create", "Self", "--type", "Test")
    cli.fails(FAILED, "cli.no-file", "issuer", "create", "x", "--type", "Test",
              "--password-file", "absent")
    cli.run("issuer", "delete", "other")


def denied(cli, work):
    """With a token that is none, every verb is denied, and does nothing."""
    (work / "cert.pem").write_bytes(cli.out("cert", "show", "whole", "--pem"))
    stranger = {"KEYVAULT_API": cli.env["KEYVAULT_URL"], "KEYVAULT_TOKEN": "x" * 40}
    verbs = [("contact", "list"), ("contact", "add", "a@b.c"), ("contact", "remove", "a@b.c"),
             ("issuer", "list"), ("issuer", "create", "x", "--type", "Test"),
             ("issuer", "show", "x"), ("issuer", "update", "x", "--enabled"),
             ("issuer", "delete", "x"), ("cert", "renew", "whole"), ("cert", "csr", "whole"),
             ("cert", "merge", "whole", "--file", "cert.pem"),
             ("cert", "operation", "show", "whole"), ("cert", "operation", "cancel", "whole"),
             ("cert", "operation", "delete", "whole"), ("cert", "policy", "show", "whole"),
             ("cert", "policy", "set", "whole", "--validity-months", "3"),
             ("cert", "export", "whole", "--format", "pem")]
    for noun in ("key", "secret", "cert"):
        verbs += [(noun, "list"), (noun, "show", "whole"), (noun, "show", "whole", "--deleted"),
                  (noun, "versions", "whole"), (noun, "update", "whole", "--disabled"),
                  (noun, "delete", "whole"), (noun, "list-deleted"), (noun, "recover", "whole"),
                  (noun, "purge", "whole", "--yes"), (noun, "backup", "whole"),
                  (noun, "restore", "kept.blob")]
    for verb in verbs:
        cli.fails(DENIED, "api.unauthorized", *verb, env=stranger)
        cli.fails(DENIED, "api.unauthorized", *verb, "--json", env=stranger)
    expect(cli.json("cert", "show", "whole")["attributes"]["enabled"] is True, "nothing changed")


def backups(cli, noun, work):
    name = noun + "-kept"
    first = make(cli, noun, name, "--tag", "a=1")
    second = make(cli, noun, name)
    cli.run(noun, "backup", name, "--out", "kept.blob")
    file = work / "kept.blob"
    expect(file.stat().st_mode & 0o777 == 0o600, "nobody else reads the file")
    expect(len(cli.json(noun, "backup", name)["value"]) > 100, "--json is the body")
    cli.fails(FAILED, "backup.name-taken", noun, "restore", "kept.blob")
    cli.run(noun, "delete", name)
    cli.fails(FAILED, "api.deleted", noun, "restore", "kept.blob")
    cli.run(noun, "purge", name, "--yes")
    cli.fails(NOT_FOUND, "object.not-found", noun, "show", name)
    cli.fails(NOT_FOUND, "object.not-found", noun, "backup", name)
    expect(name in cli.out(noun, "restore", "kept.blob").decode(), "fields")
    expect(version_of(cli.json(noun, "show", name)) == second, "the newest is the newest")
    old = cli.json(noun, "show", name, "--version", first)
    expect(old["tags"] == {"a": "1"}, "the old one is back")
    cli.run(noun, "delete", name)
    cli.run(noun, "purge", name, "--yes")
    back = cli.json(noun, "restore", "-", stdin=file.read_bytes())
    expect(version_of(back) == second, "from standard input")
    cli.fails(USAGE, "cli.usage", noun, "restore")
    cli.fails(USAGE, "cli.bad-flag", noun, "backup", "under_score")
    cli.fails(FAILED, "cli.no-file", noun, "restore", "absent")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    (work / "bad.blob").write_bytes(data)
    cli.fails(FAILED, "seal.blob-damaged", noun, "restore", "bad.blob")


def main():
    with Dev(sys.argv[1]) as dev:
        cli = Cli(dev)
        for noun in ("key", "secret", "cert"):
            update(cli, noun)
            deletion(cli, noun)
            bad_deletion(cli, noun)
            backups(cli, noun, dev.work)
        own_updates(cli)
        asking(cli, dev)
        certificates_take_along(cli)
        contacts(cli)
        issuers(cli, dev.work)
        denied(cli, dev.work)
        print(f"{cli.n} commands, as expected")


if __name__ == "__main__":
    main()
