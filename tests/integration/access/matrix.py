"""Every cell of the authorization matrix, and random rules and requests: the decision
function (decider.c) against an oracle of its own (oracle.py). Not one may differ.

matrix.py DECIDER [COUNT]      COUNT random requests (10^4; 10^6 with
                               KEYVAULT_TEST_FULL=1)"""
import itertools
import json
import os
import random
import subprocess
import sys

import oracle

TENANT = "11111111-1111-1111-1111-111111111111"
FOREIGN = "22222222-2222-2222-2222-222222222222"
USER = "aaaaaaaa-0000-0000-0000-00000000000A"
GROUP = "aaaaaaaa-0000-0000-0000-00000000000b"
SUBJECT = "aaaaaaaa-0000-0000-0000-00000000000c"
MACHINE = "aaaaaaaa-0000-5000-8000-00000000000d"
APP_A = "bbbbbbbb-0000-0000-0000-00000000000a"
APP_B = "bbbbbbbb-0000-0000-0000-00000000000b"


def caller(kind, name, tenant="", oid="", app="", groups=()):
    return {"kind": kind, "id": name, "tenant": tenant, "oid": oid, "app": app,
            "groups": list(groups)}


CALLERS = {
    "user through A": caller("user", "user:" + USER, TENANT, USER, APP_A),
    "user through B": caller("user", "user:" + USER, TENANT, USER, APP_B),
    "user alone": caller("user", "user:" + USER, TENANT, USER),
    "application A": caller("app", "app:" + APP_A, TENANT, SUBJECT, APP_A),
    "member of the group": caller("user", "user:" + APP_B, TENANT, APP_B, APP_A,
                                  ["group:" + GROUP]),
    "user of another tenant": caller("user", "user:" + USER, FOREIGN, USER, APP_A),
    "unix user": caller("unix", "unix:alice", "", MACHINE),
    "unix member": caller("unix", "unix:bob", "", "", "",
                          ["unixgroup:adm", "unixgroup:ops"]),
    "client certificate": caller("mtls", "mtls:" + "ab" * 32, "", MACHINE),
    "administrator": caller("admin", "token:dev-administrator"),
    "nobody": caller("none", "unix:alice", "", MACHINE),
}
OPERATIONS = oracle.TABLES["operations"]
PERMISSIONS = {area: names for area, names in oracle.TABLES["permissions"].items()}
VAULT, OTHER_VAULT, NAME, OTHER_NAME = "prod", "test", "web", "web2"


def rules(policies=(), assignments=(), uses_policies=False):
    return {"tenant": TENANT, "usesPolicies": uses_policies,
            "accessPolicies": list(policies), "assignments": list(assignments)}


def entry(oid, permissions, app=None, tenant=TENANT):
    made = {"tenantId": tenant, "objectId": oid, "permissions": permissions}
    if app:
        made["applicationId"] = app
    return made


def only(permission):
    area, verb = permission.split("/")
    return {area: [verb]}


def all_but(permission):
    area, verb = permission.split("/")
    lost = {"all", verb, "manageissuers"}
    return {name: [x for x in names if name != area or x not in lost]
            for name, names in PERMISSIONS.items()}


def policy_states(operation):
    """What a vault of access policies may say about one operation."""
    needed = operation["permissions"][0]
    area = needed.split("/")[0]
    yield rules(uses_policies=True)
    for oid in (USER, GROUP, SUBJECT, MACHINE):
        yield rules([entry(oid, only(needed))], uses_policies=True)
        yield rules([entry(oid, {area: ["all"]})], uses_policies=True)
        yield rules([entry(oid, all_but(needed))], uses_policies=True)
        yield rules([entry(oid, only(needed), APP_A)], uses_policies=True)
        yield rules([entry(oid, only(needed), tenant=FOREIGN)], uses_policies=True)
    for other in operation["permissions"][1:]:
        yield rules([entry(USER, only(other))], uses_policies=True)
    yield rules([entry(SUBJECT, {name: ["all"] for name in PERMISSIONS}),
                 entry(USER, {}), entry(USER, only(needed), APP_B)],
                [["user:" + USER, "administrator", "/"]], uses_policies=True)


def role_states(who):
    """What role assignments may say about one caller."""
    yield rules()
    yield rules([entry(USER, {name: ["all", "purge"] for name in PERMISSIONS})])
    name = (who["groups"] or [who["id"]])[-1]
    scopes = ["/", f"/{VAULT}", f"/{OTHER_VAULT}"]
    scopes += [f"/{VAULT}/{area}/{NAME}" for area in ("keys", "secrets", "certificates")]
    scopes += [f"/{VAULT}/keys/{OTHER_NAME}", f"/{OTHER_VAULT}/keys/{NAME}"]
    for role, scope in itertools.product(oracle.TABLES["roles"], scopes):
        yield rules(assignments=[[name, role["name"], scope]])
    yield rules(assignments=[["user:nobody", "administrator", "/"],
                             [name, "reader", f"/{VAULT}"],
                             [name, "tls-server", f"/{VAULT}/keys/{NAME}"]])


def line_of(who):
    return [who["kind"], who["id"], who["tenant"], who["oid"], who["app"],
            ",".join(who["groups"])]


def path_of(operation, name):
    return operation["path"].replace("{n}", name).replace("{v}", "0" * 31 + "1")


def ask(who, operation, vault, name):
    return "\t".join(["ask"] + line_of(who)
                     + [vault, operation["method"], path_of(operation, name)])


def cells():
    """(rules, question, what the oracle says) for each cell."""
    for operation in OPERATIONS:
        for state in policy_states(operation):
            for who in CALLERS.values():
                yield (state, ask(who, operation, VAULT, NAME),
                       oracle.decide(state, who, operation, VAULT, NAME))
    for who in CALLERS.values():
        for state in role_states(who):
            for operation in OPERATIONS:
                yield (state, ask(who, operation, VAULT, NAME),
                       oracle.decide(state, who, operation, VAULT, NAME))
            for action in oracle.TABLES["management"]:
                yield managed(state, who, action, VAULT)
                yield managed(state, who, action, "")
    for who in CALLERS.values():
        state = rules(uses_policies=True,
                      policies=[entry(USER, {"keys": ["all"]})],
                      assignments=[["user:" + USER, "contributor", f"/{VAULT}"]])
        for action in oracle.TABLES["management"]:
            yield managed(state, who, action, VAULT)


def managed(state, who, action, vault):
    question = "\t".join(["manage"] + line_of(who) + [vault, "", "", action])
    return state, question, oracle.decide_management(state, who, "/" + vault, action)


# --- chance ------------------------------------------------------------------------------

POOL_OIDS = [f"cccccccc-0000-0000-0000-0000000000{i:02x}" for i in range(6)]
POOL_APPS = [f"dddddddd-0000-0000-0000-0000000000{i:02x}" for i in range(3)]
POOL_NAMES = ["web", "WEB", "web2", "a", "b"]
POOL_VAULTS = ["prod", "test"]


def random_caller(chance):
    oid, app = chance.choice(POOL_OIDS), chance.choice(POOL_APPS + [""])
    tenant = chance.choice([TENANT, TENANT, TENANT, FOREIGN, ""])
    groups = ["group:" + chance.choice(POOL_OIDS)
              for _ in range(chance.choice([0, 0, 1, 3]))]
    kind = chance.choice(["user", "user", "app", "unix", "mtls", "none", "admin"])
    if kind == "user":
        return caller(kind, "user:" + oid, tenant, oid, app, groups)
    if kind == "app":
        return caller(kind, "app:" + (app or POOL_APPS[0]), tenant, oid,
                      app or POOL_APPS[0])
    groups = ["unixgroup:g" + str(chance.randrange(4))
              for _ in range(chance.choice([0, 1, 4]))]
    return caller(kind, f"{kind}:u{chance.randrange(4)}", "", oid, "", groups)


def random_entry(chance):
    permissions = {}
    for area, names in PERMISSIONS.items():
        if chance.random() < 0.7:
            some = chance.sample(names, min(len(names), chance.randrange(5)))
            permissions[area] = [x.upper() if chance.random() < 0.2 else x for x in some]
    return entry(chance.choice(POOL_OIDS), permissions,
                 chance.choice(POOL_APPS + [None, None]),
                 chance.choice([TENANT, TENANT, FOREIGN]))


def random_assignment(chance):
    who = chance.choice(
        ["user:" + chance.choice(POOL_OIDS), "app:" + chance.choice(POOL_APPS),
         "group:" + chance.choice(POOL_OIDS), f"unix:u{chance.randrange(4)}",
         f"unixgroup:g{chance.randrange(4)}", f"mtls:u{chance.randrange(4)}"])
    role = chance.choice(oracle.TABLES["roles"])
    scope = chance.choice(["/", "/" + chance.choice(POOL_VAULTS), "/PROD", None])
    if scope is None:
        scope = "/".join(["", chance.choice(POOL_VAULTS),
                          chance.choice(["keys", "secrets", "certificates", "Keys"]),
                          chance.choice(POOL_NAMES)])
    return [who, role[chance.choice(["name", "azure", "id"])], scope]


def random_cells(count, chance):
    made = 0
    while made < count:
        state = rules([random_entry(chance) for _ in range(chance.choice([0, 1, 8, 40]))],
                      [random_assignment(chance)
                       for _ in range(chance.choice([0, 1, 8, 40]))],
                      chance.random() < 0.5)
        for _ in range(50):
            who = random_caller(chance)
            vault = chance.choice(POOL_VAULTS)
            made += 1
            if chance.random() < 0.1:
                yield managed(state, who, chance.choice(oracle.TABLES["management"]),
                              vault)
                continue
            operation = chance.choice(OPERATIONS)
            name = chance.choice(POOL_NAMES)
            yield (state, ask(who, operation, vault, name),
                   oracle.decide(state, who, operation, vault, name))


# --- the other side ----------------------------------------------------------------------

BATCH = 20000


def compare(decider, label, rows):
    """Number of cells and of differences; the first few are shown."""
    total = different = allowed = 0
    rows = iter(rows)
    while True:
        batch = list(itertools.islice(rows, BATCH))
        if not batch:
            break
        lines, last = [], None
        for state, question, _ in batch:
            if state is not last:
                lines.append("rules\t" + json.dumps(state))
                last = state
            lines.append(question)
        done = subprocess.run([decider], input="\n".join(lines) + "\n", text=True,
                              stdout=subprocess.PIPE, check=True)
        answers = done.stdout.splitlines()
        if len(answers) != len(batch):
            sys.exit(f"not ok {label}: {len(answers)} answers to {len(batch)} questions")
        for (state, question, expected), answer in zip(batch, answers):
            total += 1
            allowed += answer.startswith("allow")
            if answer != expected:
                different += 1
                if different <= 5:
                    print(f"# {question!r}\n#   under {json.dumps(state)}\n"
                          f"#   decided {answer!r}, the oracle {expected!r}")
    if allowed == 0 or allowed == total:
        sys.exit(f"not ok {label}: {allowed} of {total} allowed: that compares nothing")
    print(f"{'not ok' if different else 'ok'} {label}: {total} cells, {allowed} allowed, "
          f"{different} differences", flush=True)
    return different


def main():
    decider = sys.argv[1]
    is_full = os.environ.get("KEYVAULT_TEST_FULL") == "1"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10 ** 6 if is_full else 10 ** 4
    different = compare(decider, "matrix", cells())
    seed = int(os.environ.get("KEYVAULT_TEST_SEED", random.randrange(2 ** 32)))
    print(f"# KEYVAULT_TEST_SEED={seed}")
    different += compare(decider, "random", random_cells(count, random.Random(seed)))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
