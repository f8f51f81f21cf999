"""A second opinion on who may do what, written from the tables of the wire contract
(tests/fixtures/access.json) and from the words that describe access; it shares nothing
with the vault's own code. Slow and plain on purpose."""
import json
import pathlib
import re

TABLES = json.loads((pathlib.Path(__file__).resolve().parents[2]
                     / "fixtures" / "access.json").read_text())
ROLES = {}
for _role in TABLES["roles"]:
    for _name in (_role["name"], _role["azure"], _role["id"]):
        ROLES[_name.lower()] = _role


def gives(role, data_action):
    """Whether a role's globs hold a data action."""
    return any(re.fullmatch(".*".join(map(re.escape, glob.split("*"))), data_action)
               for glob in role["dataActions"])


def scope_holds(scope, resource):
    """Scopes and resources are paths; a path holds itself and what is below it."""
    scope = [part for part in scope.lower().split("/") if part]
    resource = [part for part in resource.lower().split("/") if part]
    return resource[:len(scope)] == scope


def names_of(caller):
    """What an assignment may call a caller."""
    return [caller["id"]] + caller["groups"]


def resource_of(operation, vault, name):
    """The path of what an operation is about: an object where its path names one."""
    head = operation["path"].strip("/").split("/")[0].removeprefix("deleted")
    if "{n}" in operation["path"] and "/issuers/" not in operation["path"]:
        return f"/{vault}/{head}/{name}"
    return f"/{vault}"


def by_assignments(rules, caller, resource, is_given):
    if (caller["tenant"] or rules["tenant"]).lower() != rules["tenant"].lower():
        return "deny principal"
    said_nothing, held_nothing = True, True
    for principal, role, scope in rules["assignments"]:
        if principal not in names_of(caller):
            continue
        said_nothing = False
        if not scope_holds(scope, resource):
            continue
        held_nothing = False
        known = ROLES.get(role.lower())
        if known and is_given(known):
            return "allow assignment"
    if said_nothing:
        return "deny principal"
    return "deny scope" if held_nothing else "deny action"


def entry_serves(entry, caller, home):
    """The caller table: an entry without application serves its user through any
    application, and an application by itself; one with an application serves that user
    through that application alone. A group stands for its members."""
    if entry["tenantId"].lower() != (caller["tenant"] or home).lower():
        return False
    objects = [caller["oid"]] + [group.removeprefix("group:") for group in caller["groups"]
                                 if group.startswith("group:")]
    if entry["objectId"].lower() not in [x.lower() for x in objects if x]:
        return False
    application = entry.get("applicationId")
    if not application:
        return True
    return caller["kind"] == "user" and caller["app"].lower() == application.lower()


def permits(entry, permissions):
    for permission in permissions:
        area, verb = permission.split("/")
        given = [x.lower() for x in entry["permissions"].get(area) or []]
        if verb.lower() in given or ("all" in given and verb != "purge"):
            return True
    return False


def by_policies(rules, caller, permissions):
    serving = [entry for entry in rules["accessPolicies"]
               if entry_serves(entry, caller, rules["tenant"])]
    if any(permits(entry, permissions) for entry in serving):
        return "allow policy"
    return "deny action" if serving else "deny principal"


def decide(rules, caller, operation, vault, name):
    """May this caller do this operation of the data plane?"""
    if caller["kind"] == "admin":
        return "allow admin"
    if caller["kind"] == "none":
        return "deny principal"
    if rules["usesPolicies"]:
        return by_policies(rules, caller, operation["permissions"])
    return by_assignments(rules, caller, resource_of(operation, vault, name),
                          lambda role: gives(role, operation["dataAction"]))


def decide_management(rules, caller, resource, action):
    """May this caller manage what a path names?"""
    if caller["kind"] == "admin":
        return "allow admin"
    if caller["kind"] == "none":
        return "deny principal"
    return by_assignments(rules, caller, resource,
                          lambda role: action in role["management"])
