"""Measure keyvault against key files, in pairs of short runs.

    python3 tests/bench/bench.py BUILD [--rounds N] [--seconds S] [--sustained S]
                                 [--nonces on|off] [--only PART,PART] [--json FILE]

The same key is measured on two sides in every round, one run after the other and the
other way round in the next, so that the drift of a shared machine hits both sides.
Prints Markdown: the median of the ratios of all rounds, their range, and the medians of
both sides; at the end the goals. --only takes the parts sign, nginx, sustained, echo,
flood, peer, rest and store. `nice -n -20` keeps other work of the machine out as far as it goes; the
kernel's autogroup of this session gets the same, without which nice counts for nothing
against other sessions.
"""
import argparse
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import softhsm
from results import Case, as_json, goal_rows

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from dev import Dev, Nginx  # noqa: E402

KEYS = {"RSA-2048": ("rsa", ["-newkey", "rsa:2048"]),
        "P-256": ("p256", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        "P-384": ("p384", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        "Ed25519": ("ed", ["-newkey", "ed25519"])}
# One worker has the first CPU to itself and the load comes from the last one: left alone,
# some kernels put both on one CPU, and the rate then is that of the client as well.
WORKERS_STAY = "worker_cpu_affinity auto;"
LOAD_STAYS = ["taskset", "-c", str((os.cpu_count() or 1) - 1)]
FLOODER = "nobody"  # another user, where we may become one
PARTS = ("sign", "nginx", "sustained", "echo", "flood", "peer", "rest", "store")


def measure(command, env=None):
    done = subprocess.run([str(c) for c in command], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr.decode()}")
    words = done.stdout.decode().split()
    run = {k: float(v) for k, v in zip(words[::2], words[1::2])}
    run["total_cpu_us"] = run.get("cpu_us", 0) + run.get("other_cpu_us", 0)
    return run


def claim_machine():
    """Make our nice value count against other sessions too, where we may."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/autogroup").write_text(str(os.nice(0)))


def clean_env():
    return {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}


class Bench:
    """A running keyvaultd, keys that exist as files and in it, and what was measured."""

    def __init__(self, dev, build, args):
        self.dev = dev
        self.args = args
        self.tool = {name: build / "tests" / name
                     for name in ("signatures", "tls_handshakes", "channel_echo",
                                  "rest_requests", "store_scale")}
        self.keyring = str(dev.role_pid("keyvault-keyring"))
        self.cases = {}
        for name, newkey in KEYS.values():
            dev.make_key(name, newkey)

    def file(self, name, suffix):
        return self.dev.work / f"{name}.{suffix}"

    def pairs(self, case, run, rounds=None):
        """Fill the case by run(side), in turns."""
        self.cases[case.id] = case
        sides = list(case.runs)
        for i in range(rounds or self.args.rounds):
            for side in sides if i % 2 == 0 else reversed(sides):
                case.runs[side].append(run(side))
        return case

    def show(self, case, metrics, side="vault", base="file"):
        for metric in metrics:
            print(case.row(metric, side, base), flush=True)

    def sign(self, key, env, *options):
        return measure([self.tool["signatures"], "--seconds", self.args.seconds,
                        *options, key], env)

    def sign_vault(self, name, *options):
        return self.sign(self.file(name, "uri.pem"), self.dev.env, "--cpu", self.keyring,
                         *options)


def signatures(bench):
    for label, (name, _) in KEYS.items():
        def run(side, name=name):
            if side == "file":
                return bench.sign(bench.file(name, "key"), clean_env())
            return bench.sign_vault(name)
        case = bench.pairs(Case(f"sign/{label}", f"signature, {label}",
                                ("file", "vault")), run)
        bench.show(case, ("p50_us", "p99_us", "p999_us", "max_us", "total_cpu_us"))


class Servers:
    """One nginx with key files, one with vault keys, alike otherwise."""

    def __init__(self, bench, workers, labels):
        names = [KEYS[label][0] for label in labels]
        self.bench = bench
        self.nginx = {
            side: Nginx(bench.dev, [(n, bench.file(n, "crt"), bench.file(n, suffix))
                                    for n in names], workers=workers, env=env,
                        main=WORKERS_STAY)
            for side, suffix, env in (("file", "key", clean_env()),
                                      ("vault", "uri.pem", bench.dev.env))}
        self.also = {"vault": [bench.keyring]}

    def add(self, side, nginx):
        self.nginx[side] = nginx

    def handshakes(self, side, name, seconds, *options):
        nginx = self.nginx[side]
        pids = [str(p) for p in nginx.pids()] + self.also.get(side, [])
        return measure([*(LOAD_STAYS if nginx.workers == 1 else []),
                        self.bench.tool["tls_handshakes"], "--port", nginx.port[name],
                        "--seconds", seconds, *options,
                        *itertools.chain(*(("--cpu", p) for p in pids))])

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        with self.stack:
            for nginx in self.nginx.values():
                self.stack.enter_context(nginx)
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()
        for side, nginx in self.nginx.items():
            bad = [line for line in nginx.errors().splitlines() if "[notice]" not in line]
            if bad:
                raise RuntimeError(f"nginx ({side}) complains:\n" + "\n".join(bad[:10]))


def nginx(bench):
    labels = ("RSA-2048", "P-256", "P-384")
    for workers in (1, 2):
        with Servers(bench, workers, labels) as servers:
            for version, label in itertools.product(("1.3", "1.2"), labels):
                options = ["--tls12"] if version == "1.2" else []
                case = Case(f"nginx/{workers}/{version}/{label}",
                            f"nginx, {workers} worker{'s' * (workers > 1)}, "
                            f"TLS {version}, {label}", ("file", "vault"))
                bench.pairs(case, lambda side: servers.handshakes(
                    side, KEYS[label][0], bench.args.seconds, *options))
                bench.show(case, ("rate", "cpu_us"))


def sustained(bench):
    """P-384 for longer than anything prepared beforehand lasts."""
    with Servers(bench, 1, ["P-384"]) as servers:
        case = Case("sustained/P-384", f"nginx, 1 worker, TLS 1.3, P-384, "
                    f"{bench.args.sustained:g} s on end", ("file", "vault"))
        bench.pairs(case, lambda side: servers.handshakes(
            side, KEYS["P-384"][0], bench.args.sustained), rounds=1)
        bench.show(case, ("rate", "cpu_us"))


def echo(bench):
    case = Case("echo", "key channel, echo", ("vault",))
    bench.pairs(case, lambda _: measure(
        [bench.tool["channel_echo"], "--seconds", bench.args.seconds, "--cpu",
         bench.keyring, bench.dev.env["KEYVAULT_KEYS_SOCKET"]]))
    for metric in ("p50_us", "p99_us", "cpu_us"):
        print(f"| key channel, echo, {metric} | | | | {case.middle('vault', metric):.1f} "
              "µs |", flush=True)


class Flood:
    """Another user signs with RSA-4096 all the time, and keys of that size are made."""

    def __init__(self, bench):
        self.bench = bench
        dev = bench.dev
        dev.cli("key", "create", "big", "--type", "RSA", "--size", "4096")
        bench.file("big", "uri.pem").write_bytes(dev.cli("key", "uri-pem", "big"))
        self.user = {}
        if os.geteuid() == 0:
            dev.cli("access", "grant", f"unix:{FLOODER}", "--role", "tls-server",
                    "--scope", "keys/big")
            self.user = {"user": FLOODER}

    def __enter__(self):
        bench = self.bench
        sign = [bench.tool["signatures"], "--seconds", "3600", bench.file("big", "uri.pem")]
        make = [bench.dev.build / "keyvault", "key", "create", "made", "--type", "RSA",
                "--size", "4096"]
        self.processes = [self.start(sign, **self.user) for _ in range(8)]
        self.processes += [self.start(["sh", "-c", 'while "$@" >&2; do :; done', "sh",
                                       *map(str, make)]) for _ in range(2)]
        time.sleep(0.5)
        return self

    def start(self, command, **options):
        return subprocess.Popen(command, env=self.bench.dev.env, process_group=0,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                **options)

    def __exit__(self, *_):
        ended = [p.pid for p in self.processes if p.poll() is not None]
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
        self.settle()
        if ended:
            raise RuntimeError("the flood ran dry")

    def settle(self):
        """Wait until the keyring has nothing left to do."""
        def cpu_s():
            words = pathlib.Path(f"/proc/{self.bench.keyring}/stat").read_text()
            return sum(map(int, words.rsplit(")", 1)[1].split()[11:13]))
        before = -100
        while cpu_s() - before > 2:
            before = cpu_s()
            time.sleep(0.3)


def flood(bench):
    flooding = Flood(bench)
    for name, options in (("back-to-back", ()), ("paced", ("--pause-us", "500"))):
        def run(side, options=options):
            with flooding if side == "flood" else contextlib.nullcontext():
                return bench.sign_vault("p256", *options)
        case = bench.pairs(Case(f"flood/{name}", f"P-256 signature, {name}, flood by "
                                "another user", ("quiet", "flood")), run)
        bench.show(case, ("p50_us", "p99_us", "p999_us", "max_us"), "flood", "quiet")


def peer(bench):
    if not softhsm.is_there():
        print("softhsm2 and libengine-pkcs11-openssl are not installed", file=sys.stderr)
        return
    token = softhsm.SoftHsm(bench.dev.work / "softhsm")
    uris = {label: token.add(KEYS[label][0], bench.file(KEYS[label][0], "key"))
            for label in ("RSA-2048", "P-256")}
    for label, uri in uris.items():
        def run(side, uri=uri, name=KEYS[label][0]):
            return (bench.sign(uri, token.env) if side == "peer"
                    else bench.sign_vault(name))
        case = bench.pairs(Case(f"peer/sign/{label}", f"signature against SoftHSM, "
                                f"{label}", ("peer", "vault")), run)
        bench.show(case, ("rate", "p50_us"), base="peer")
    servers = Servers(bench, 1, list(uris))
    servers.add("peer", Nginx(bench.dev, [
        (KEYS[label][0], bench.file(KEYS[label][0], "crt"), f'"{uri}"')
        for label, uri in uris.items()], env=token.env,
        main=WORKERS_STAY + " env SOFTHSM2_CONF;"))
    with servers:
        for label in uris:
            case = Case(f"peer/nginx/{label}", f"nginx against SoftHSM, 1 worker, "
                        f"TLS 1.3, {label}", ("peer", "vault"))
            bench.pairs(case, lambda side: servers.handshakes(
                side, KEYS[label][0], bench.args.seconds))
            bench.show(case, ("rate", "cpu_us"), base="peer")


def rest(bench):
    """A signature through the REST API: processor time of service and keyring against
    that of the bare signature in a process."""
    env = bench.dev.env
    body = json.dumps({"alg": "ES256", "value": "A" * 43})
    target = "/keys/p256//sign?api-version=2025-07-01"
    pids = ["--cpu", bench.keyring, "--cpu", str(bench.dev.role_pid("keyvault-service"))]
    tls = ["--port", env["KEYVAULT_URL"].rsplit(":", 1)[1], "--ca", env["KEYVAULT_CA"],
           "--token", env["KEYVAULT_TOKEN"]]
    for name, where in (("Unix socket", ["--unix", str(bench.dev.dir / "api.sock")]),
                        ("TLS, one connection", tls)):
        def run(side, where=where):
            if side == "bare":
                return bench.sign(bench.file("p256", "key"), clean_env())
            done = measure([bench.tool["rest_requests"], "--seconds", bench.args.seconds,
                            *where, *pids, "--body", body, "POST", target])
            return {**done, "cpu_us": done["other_cpu_us"]}
        case = bench.pairs(Case(f"rest/{name}", f"REST signature, P-256, {name}",
                                ("bare", "vault")), run)
        bench.show(case, ("rate", "p50_us", "p99_us", "cpu_us"), base="bare")


def store(bench):
    """Reading from a store of many certificates against one of few."""
    sizes = bench.args.store
    runs = {}
    for n in sizes:
        directory = bench.dev.work / f"store-{n}"
        runs[n] = measure([bench.tool["store_scale"], directory, n])
        shutil.rmtree(directory)
    few, many = runs[sizes[0]], runs[sizes[-1]]
    for metric in few:
        if metric not in ("n", "total_cpu_us") and few[metric] > 0:
            print(f"| store, {sizes[-1]} certificates against {sizes[0]}, {metric} | "
                  f"{many[metric] / few[metric]:.2f} | | {few[metric]:.1f} | "
                  f"{many[metric]:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--sustained", type=float, default=60)
    parser.add_argument("--store", type=lambda text: [int(n) for n in text.split(",")],
                        default=[1000, 10000], help="numbers of certificates")
    parser.add_argument("--nonces", choices=("on", "off", "auto"), default="auto")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    build = args.build.resolve()
    claim_machine()
    parts = args.only.split(",")
    run = dict(zip(PARTS, (signatures, nginx, sustained, echo, flood, peer, rest,
                            store)))
    if not set(parts) <= set(PARTS):
        parser.error(f"--only takes {', '.join(PARTS)}")
    print("| what | ratio (median) | range | key file, quiet or peer | vault or flood |")
    print("|---|---|---|---|---|")
    with contextlib.ExitStack() as stack:
        conf = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".conf"))
        conf.write(f'keyring {{\n  prepared-nonces = "{args.nonces}"\n}}\n')
        conf.flush()
        dev = stack.enter_context(Dev(build, options=["--config", conf.name]))
        bench = Bench(dev, build, args)
        for part in parts:
            run[part](bench)
        print()
        print("\n".join(goal_rows(bench.cases)))
        if args.json:
            args.json.write_text(json.dumps(as_json(bench.cases), indent=1))


if __name__ == "__main__":
    main()
