"""The authorization matrix over real HTTPS: an application with a token of the built-in
authority, every operation of the contract under every role, and under access policies;
403 exactly where the oracle denies. Then the same by the command line.

    python3 tests/integration/access/over_https.py BUILD
"""
import pathlib
import sys
import urllib.parse

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
import oracle  # noqa: E402
from api import Https  # noqa: E402
from cli import DENIED, FAILED, USAGE, Cli, expect  # noqa: E402
from dev import Dev  # noqa: E402

ROLES, POLICIES = "default", "second"


def token_of(dev, app):
    authority = Https(dev, host="localhost")
    form = urllib.parse.urlencode({
        "client_id": app["clientId"], "client_secret": app["clientSecret"],
        "grant_type": "client_credentials",
        "scope": "https://vault.localhost/.default"}).encode()
    reply = authority.send(
        "POST", f"/{app['tenantId']}/oauth2/v2.0/token", form,
        {"Content-Type": "application/x-www-form-urlencoded"}, version=None)
    expect(reply.status == 200, f"no token: {reply.status} {reply.body}")
    return reply.json["access_token"]


def caller_of(app):
    return {"kind": "app", "id": "app:" + app["clientId"], "tenant": app["tenantId"],
            "oid": app["objectId"], "app": app["clientId"], "groups": []}


def rules_of(app, assignments=(), policies=None):
    return {"tenant": app["tenantId"], "usesPolicies": policies is not None,
            "accessPolicies": policies or [], "assignments": list(assignments)}


def every_operation(vault, name, rules, caller):
    """Ask for all of them; the number that was let. Bodies are empty: what is let fails
    later, with another status than 403."""
    let = 0
    for operation in oracle.TABLES["operations"]:
        path = operation["path"].replace("{n}", "absent").replace("{v}", "0" * 31 + "1")
        reply = vault.send(operation["method"], path)
        expected = oracle.decide(rules, caller, operation, name, "absent")
        expect(reply.status != 401, f"{operation['name']}: 401")
        expect((reply.status == 403) == expected.startswith("deny"),
               f"{operation['name']}: {reply.status} where the oracle says {expected}")
        let += reply.status != 403
        if reply.status != 403:
            continue
        message = reply.error("message")
        inner = "AccessDenied" if rules["usesPolicies"] else "ForbiddenByRbac"
        expect(reply.error("code") == "Forbidden" and reply.error("inner") == inner, message)
        expect(caller["oid"] in message and caller["app"] in message, message)
        area, verb = operation["permissions"][0].split("/")
        named = (f"does not have {area} {verb} permission on key vault '{name};"
                 if rules["usesPolicies"]
                 else f"'Microsoft.KeyVault/vaults/{operation['dataAction']}'")
        expect(named in message, f"{operation['name']}: {message}")
    return let


def by_roles(dev, cli, app, token):
    vault = Https(dev)
    vault.token = token
    caller = caller_of(app)
    expect(every_operation(vault, ROLES, rules_of(app), caller) == 0, "nothing by default")
    for role in oracle.TABLES["roles"]:
        cli.run("access", "grant", "app:tester", "--role", role["azure"])
        given = rules_of(app, [[caller["id"], role["name"], "/" + ROLES]])
        every_operation(vault, ROLES, given, caller)
        cli.run("access", "revoke", "app:tester", "--role", role["id"])
    scope = ["--role", "administrator", "--scope", "keys/absent"]
    cli.run("access", "grant", "app:tester", *scope)
    given = rules_of(app, [[caller["id"], "administrator", f"/{ROLES}/keys/absent"]])
    expect(every_operation(vault, ROLES, given, caller) > 0, "one object")
    cli.run("access", "revoke", "app:tester", *scope)
    expect(every_operation(vault, ROLES, rules_of(app), caller) == 0, "and nothing again")


def entry(app, permissions, oid=None):
    return {"tenantId": app["tenantId"], "objectId": oid or app["objectId"],
            "permissions": permissions}


def by_policies(dev, cli, app, token):
    cli.run("vault", "create", POLICIES, "--access-policies", "-", stdin=b"[]")
    cli.run("access", "grant", "app:tester", "--role", "administrator", "--scope",
            "/" + POLICIES)
    vault = Https(dev, host=f"{POLICIES}.vault.localhost")
    vault.token = token
    caller = caller_of(app)
    every_operation(vault, POLICIES, rules_of(app, policies=[]), caller)
    states = [{"keys": ["all"]}, {"secrets": ["all"]}, {"certificates": ["all"]},
              {"keys": ["get", "sign"], "secrets": ["get"]},
              {"keys": ["purge"], "secrets": ["purge"], "certificates": ["purge"]},
              {"certificates": ["manageissuers", "managecontacts"], "secrets": ["set"]}]
    for permissions in states:
        flags = [x for area, names in permissions.items()
                 for x in ("--" + area, ",".join(names))]
        listed = cli.json("access", "policy", "set", "app:tester", "--vault", POLICIES, *flags)
        expect(listed == cli.json("access", "policy", "list", "--vault", POLICIES), "the list")
        expect(len(listed) == 1 and listed[0]["objectId"] == app["objectId"], f"{listed}")
        given = rules_of(app, policies=[entry(app, permissions)])
        expect(every_operation(vault, POLICIES, given, caller) > 0, f"{permissions}")
    dev.stop()
    dev.start()  # on another port, which is part of the issuer
    cli.env = dict(dev.env)
    token = token_of(dev, app)
    again = Https(dev, host=f"{POLICIES}.vault.localhost")
    again.token = token
    every_operation(again, POLICIES, given, caller)
    cli.run("access", "policy", "delete", "app:tester", "--vault", POLICIES)
    expect(every_operation(again, POLICIES, rules_of(app, policies=[]), caller) == 0,
           "nothing is left")
    default = Https(dev)
    default.token = token
    every_operation(default, ROLES, rules_of(app), caller)


def explain(cli, app):
    where = ["--vault", POLICIES]
    cli.run("access", "policy", "set", app["objectId"], "--secrets", "get,list", *where)
    expect(app["objectId"].encode() in cli.out("access", "policy", "list", *where), "table")
    expect(b"the access policy of object " + app["objectId"].encode()
           in cli.out("access", "check", "app:tester", "get", f"/{POLICIES}/secrets/s"), "rule")
    hint = cli.fails(DENIED, "access.denied", "access", "check", "app:tester", "set",
                     f"/{POLICIES}/secrets/s")
    expect(f"keyvault access policy set app:{app['clientId']} --vault {POLICIES} --secrets set"
           in hint, hint)
    cli.fails(FAILED, "access.bad-policy", "access", "policy", "set", "app:tester", "--keys",
              "fly", *where)
    cli.fails(USAGE, "cli.bad-flag", "access", "policy", "set", *where)
    cli.fails(USAGE, "cli.bad-flag", "access", "policy", "burn", *where)
    expect(b"access policies" in cli.out("vault", "show", POLICIES), "its model")


def main():
    with Dev(sys.argv[1]) as dev:
        cli = Cli(dev)
        app = cli.json("app", "create", "tester")
        token = token_of(dev, app)
        for step in (lambda: by_roles(dev, cli, app, token),
                     lambda: by_policies(dev, cli, app, token), lambda: explain(cli, app)):
            step()
        print(f"ok access over HTTPS ({cli.n} commands)")


if __name__ == "__main__":
    main()
