"""Bad input: every operation of the data plane with every field missing, null, of a wrong
type, too long, wrongly encoded or out of range; bodies that are none; and names, versions,
queries that cannot be. Each is refused as the contract says, the daemon goes on, and nothing
is stored.

    python3 tests/integration/api/bad_input.py BUILD [OPERATION]

The operations stand in bad_input.json. Of one:
    method, path  {name} is a new one, or that of the object "on" of this name
    good          a body that is accepted (or, with "never", would be but for its content)
    fields        member: type; "!": it must be there. bad_values() says what each refuses
    also          further bodies that are refused
    absent        code of the 404 for a name that nobody has
    list          it takes maxresults
    refused       it is known and not offered
    is_blob       its value is a backup blob: a long body is no reason to refuse it
"""
import copy
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent.parent / "support"))
from api import Api  # noqa: E402
from dev import Dev, children, wait_for  # noqa: E402

LONG_BODY = 262144
KINDS = {"text": "x", "bool": True, "int": 7, "real": 1.5, "object": {}, "array": []}


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def other_than(*kinds):
    return [value for kind, value in KINDS.items() if kind not in kinds]


def bad_values(kind):
    """What a field of this type must refuse."""
    if kind.startswith("text") and kind != "texts":
        limit = int(kind[4:] or 0)
        return other_than("text") + (["x" * (limit + 1), "\u00e4" * (limit + 1)] if limit else [])
    return {
        "enum": other_than("text") + ["", "nonsense", "x" * 1000, "\u00e4"],
        "subject": other_than("text") + ["nonsense", "CN", "CN=a,,", "\u00e4", "=a"],
        "bytes": other_than("text") + ["A", "AB", "AAAA=", "AAA=", "A A", "+/+/", "\u00e4\u00e4"],
        "bool": other_than("bool") + [0, "true"],
        "date": other_than("int") + ["2030-01-01", -2 ** 31 - 1, -2 ** 40, 253402300800, 2 ** 62,
                                     2 ** 63, 2 ** 70],
        "months": other_than("int") + [-1, 2 ** 31, 2 ** 62, 2 ** 70, 100000],
        "size": other_than("int") + [-1, 0, 1024, 2049, 2 ** 31 + 2048, 2 ** 70],
        "object": other_than("object"),
        "objects": other_than("array") + [[7], ["x"], [[]], [True]],
        "texts": other_than("array") + [[7], [{}], [None], [[]], ["nonsense"]],
        "names": other_than("array") + [[7], [{}], [None], [[]]],
        "tags": other_than("object") + [{"a": 7}, {"a": None}, {"a": {}}, {"a": ["b"]}, {"": "x"},
                                        {"a": "x" * 257}, {"x" * 257: "a"},
                                        {str(i): "" for i in range(16)}],
    }[kind]


def put(body, path, value):
    """A copy of the body with this member; the objects around it are made."""
    body = copy.deepcopy(body)
    at = body
    *parents, last = path.split(".")
    for name in parents:
        at = at.setdefault(name, {})
    at[last] = value
    return body


def without(body, path):
    body = copy.deepcopy(body)
    at = body
    *parents, last = path.split(".")
    for name in parents:
        at = at[name]
    del at[last]
    return body


def broken_bodies(good):
    """Bodies that are no JSON object, or one that says something twice."""
    text = json.dumps(good).encode()
    first = next(iter(good))
    twice = b'{"%s":null,' % first.encode() + text[1:]
    return [b"", b" ", b"null", b"7", b'"x"', b"[]", b"[" + text + b"]", text[:-1], text + b"x",
            text + text, b"{'a':1}", b"{a:1}", b'{"a":}', b'{"a":NaN}', b'{"a":"\xff\xfe"}',
            b'{"a":"\\ud800"}', b'{"a":"\\u0000"}', b"\xef\xbb\xbf" + text[:-1], twice,
            text[:-1] + b',"x":1,"x":1}', b'{"x":' + b"[" * 17 + b"]" * 17 + b"," + text[1:],
            b'{"x":' * 20 + b"1" + b"}" * 20, b"[" * 60000 + b"]" * 60000,
            b'{"x":' * 30000, b"\x00" * 64, b'{"a":1e999999}']


class BadInput:
    def __init__(self, dev, only):
        self.dev = dev
        self.api = Api(dev.dir / "api.sock")
        self.n = 0
        self.n_names = 0
        self.failures = []
        operations = json.loads((HERE.parent / "bad_input.json").read_text())
        expect(len({row["operation"] for row in operations}) == 64, "64 operations")
        self.operations = [row for row in operations if only in (None, row["operation"])]
        self.objects = {}

    # --- what is there ---------------------------------------------------------------

    def make(self):
        for name, method, path, body in [
                ("rsa", "POST", "/keys/rsa/create", {"kty": "RSA"}),
                ("secret", "PUT", "/secrets/secret", {"value": "v"}),
                ("issuer", "PUT", "/certificates/issuers/issuer", {"provider": "Test"}),
                ("contacts", "PUT", "/certificates/contacts",
                 {"contacts": [{"email": "a@b.example"}]}),
                ("certificate", "POST", "/certificates/certificate/create",
                 {"policy": {"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=a"}}}),
                ("pending", "POST", "/certificates/pending/create",
                 {"policy": {"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=a"}}})]:
            reply = self.api.send(method, path, body)
            expect(reply.status in (200, 202), f"{name}: {reply.body}")
        wait_for("the certificate is issued", lambda: self.api.send(
            "GET", "/certificates/certificate/pending").json["status"] == "completed")

    def stored(self):
        """Everything that the vault shows."""
        seen = {}
        for path in ("/keys", "/secrets", "/certificates?includePending=true", "/deletedkeys",
                     "/deletedsecrets", "/deletedcertificates", "/certificates/issuers",
                     "/certificates/contacts", "/keys/rsa", "/secrets/secret",
                     "/certificates/certificate", "/certificates/pending/pending",
                     "/certificates/issuers/issuer", "/secrets/certificate"):
            reply = self.api.send("GET", path)
            expect(reply.status == 200, f"GET {path}: {reply.status}")
            seen[path] = reply.json
        seen["/secrets/certificate"].pop("value")  # built anew each time
        return seen

    # --- one request -----------------------------------------------------------------

    def path(self, row, name=None):
        self.n_names += 1
        name = name or row.get("on") or f"new-{self.n_names}"
        return row["path"].replace("{name}", name).replace("{version}", "")

    def refused(self, row, path, body, what, statuses=(400,), codes=("BadParameter",), **more):
        self.n += 1
        reply = self.api.send(row["method"], path, body, **more)
        if reply.status in statuses and reply.error("code") in codes and \
                reply.error("message"):
            return
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self.failures.append(f"{row['operation']}: {what}: {reply.status} "
                             f"{reply.body[:160]!r}\n    {path} {(sent or b'')[:160]!r}")

    def version_and_name(self, row):
        codes = {"codes": ("BadParameter",)}
        path = self.path(row)
        self.refused(row, path, row.get("good"), "no api-version", version=None, **codes)
        for version in ("api-version=", "api-version=6.9", "api-version=2099-01-01",
                        "api-version=" + "7" * 100, "api-version=%00", "api-version=%zz"):
            self.refused(row, path, row.get("good"), version, version=version, **codes)
        if "{name}" in row["path"]:
            for name in ("under_score", "n" * 128, "%00", "%c3%a4", "a%2fb", "..", "a.b", "%"):
                self.refused(row, self.path(row, name), row.get("good"), "name " + name)
        if "{version}" in row["path"]:
            for version in ("1", "g" * 32, "A" * 32, "a" * 33, "%00" * 32):
                path = row["path"].replace("{name}", "rsa").replace("{version}", version)
                self.refused(row, path, row.get("good"), "version " + version[:40])
        if row.get("list"):
            path = self.path(row)
            for query in ("maxresults=0", "maxresults=26", "maxresults=-1", "maxresults=x",
                          "maxresults=", "maxresults=99999999999999999999", "$skiptoken=!"):
                self.refused(row, f"{path}?{query}", None, query)

    def absent(self, row):
        path = row["path"].replace("{name}", "nobody").replace("{version}", "")
        codes = {"statuses": (404,), "codes": (row["absent"],)}
        self.refused(row, path, row.get("good"), "nobody", **codes)
        if "{version}" in row["path"]:
            path = row["path"].replace("{name}", row.get("on", "rsa"))
            self.refused(row, path.replace("{version}", "1" * 32), row.get("good"),
                         "an absent version", **codes)

    def bodies(self, row):
        for body in broken_bodies(row["good"]):
            self.refused(row, self.path(row), body, "a broken body")
        self.refused(row, self.path(row), json.dumps(row["good"]).encode(), "no JSON by its type",
                     (415,), ("UnsupportedMediaType",), headers={"Content-Type": "text/plain"})
        if not row.get("is_blob"):
            body = json.dumps({**row["good"], "x": "x" * LONG_BODY}).encode()
            try:
                self.refused(row, self.path(row), body, "a long body", (413,),
                             ("RequestEntityTooLarge",))
            except OSError:
                pass  # closed while we were still sending

    def fields(self, row):
        good = row["good"]
        for member, kind in row["fields"].items():
            is_required = kind.endswith("!")
            for value in bad_values(kind.rstrip("!")):
                self.refused(row, self.path(row), put(good, member, value),
                             f"{member} is {json.dumps(value)[:40]}")
            if is_required:
                self.refused(row, self.path(row), without(good, member), f"no {member}")
                self.refused(row, self.path(row), put(good, member, None), f"{member} is null")
        for body in row.get("also", []):
            self.refused(row, self.path(row), body, "also")

    def nulls(self, row):
        """A member that may be missing may be null."""
        if row.get("never"):
            return
        for member, kind in row["fields"].items():
            if kind.endswith("!"):
                continue
            self.n += 1
            reply = self.api.send(row["method"], self.path(row), put(row["good"], member, None))
            if reply.status not in (200, 202):
                self.failures.append(f"{row['operation']}: {member} is null: {reply.status} "
                                     f"{reply.body[:160]!r}")

    def run(self):
        self.make()
        before = self.stored()
        processes = children(self.dev.process.pid)
        for row in self.operations:
            n = self.n
            self.version_and_name(row)
            if row.get("refused"):
                self.refused(row, self.path(row), None, "not offered", codes=("NotSupported",))
            if row.get("absent"):
                self.absent(row)
            if "good" in row:
                self.bodies(row)
                self.fields(row)
            print(f"ok {row['operation']}: {self.n - n} requests", flush=True)
        after = self.stored()
        for path, seen in before.items():
            if after[path] != seen:
                self.failures.append(f"{path} has changed: {after[path]}")
        for row in self.operations:
            if "good" in row:
                self.nulls(row)
        expect(children(self.dev.process.pid) == processes, "a process ended")
        expect(not self.failures, f"{len(self.failures)} of {self.n}:\n" +
               "\n".join(self.failures))
        print(f"{self.n} requests, as expected")


def main():
    with Dev(sys.argv[1]) as dev:
        BadInput(dev, sys.argv[2] if len(sys.argv) > 2 else None).run()


if __name__ == "__main__":
    main()
