"""Measure keyvault against key files, interleaved in one run.

    python3 tests/bench/bench.py BUILD [--rounds N] [--seconds S] [--only PREFIX]

The same key is measured twice per round, as a file in the process and in the vault,
one after the other (A B A B), so that drift of a shared machine hits both. Prints
Markdown rows: the median of the per-round ratios, and the medians of both sides.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from dev import Dev, Nginx  # noqa: E402


def parse(line):
    words = line.split()
    return {k: float(v) for k, v in zip(words[::2], words[1::2])}


def measure(command, env=None):
    done = subprocess.run([str(c) for c in command], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr.decode()}")
    return parse(done.stdout.decode())


def make_key(dev, name, newkey):
    """A key that exists twice: as files NAME.key and NAME.crt, and in the vault."""
    work = dev.work
    env = {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj",
                    f"/CN={name}", "-keyout", work / f"{name}.key", "-out",
                    work / f"{name}.crt", *newkey], check=True, env=env,
                   stderr=subprocess.DEVNULL)
    bundle = work / f"{name}.pem"
    bundle.write_bytes((work / f"{name}.key").read_bytes()
                       + (work / f"{name}.crt").read_bytes())
    dev.cli("cert", "import", name, "--file", bundle)
    (work / f"{name}.uri.pem").write_bytes(dev.cli("key", "uri-pem", name))


def row(what, file, vault, better, unit):
    """better: "rate" (higher is better) or a time (lower is better)."""
    ratios = [v[better] / f[better] for f, v in zip(file, vault)]
    middle = statistics.median
    cpu = ""
    if "cpu_us" in file[0]:
        cpu = (f"{middle(f['cpu_us'] for f in file):.0f} / "
               f"{middle(v['cpu_us'] for v in vault):.0f}")
    print(f"| {what} | {middle(ratios):.2f} | {min(ratios):.2f}..{max(ratios):.2f} | "
          f"{middle(f[better] for f in file):.0f} {unit} | "
          f"{middle(v[better] for v in vault):.0f} {unit} | {cpu} |", flush=True)
    return middle(ratios)


def handshakes(build, dev, args, workers, version):
    tool = build / "tests/tls_handshakes"
    servers = []
    for name in ("rsa", "ec"):
        servers += [(f"{name}-file", dev.work / f"{name}.crt", dev.work / f"{name}.key"),
                    (f"{name}-vault", dev.work / f"{name}.crt",
                     dev.work / f"{name}.uri.pem")]
    keyring = dev.role_pid("keyvault-keyring")
    with Nginx(dev, servers, workers=workers) as nginx:
        cpu = [x for p in nginx.pids() + [keyring] for x in ("--cpu", p)]
        for name, label in (("rsa", "RSA-2048"), ("ec", "P-256")):
            got = {"file": [], "vault": []}
            for _ in range(args.rounds):
                for side, results in got.items():
                    results.append(measure(
                        [tool, "--port", nginx.port[f"{name}-{side}"], "--seconds",
                         args.seconds, "--connections", 8, *version, *cpu]))
            row(f"nginx, {workers} worker{'s' * (workers > 1)}, "
                f"{'TLS 1.2' if version else 'TLS 1.3'}, {label}, handshakes/s",
                got["file"], got["vault"], "rate", "/s")


def signatures(build, dev, args):
    tool = build / "tests/signatures"
    for name, label in (("rsa", "RSA-2048 PSS"), ("ec", "P-256")):
        file, vault = [], []
        for _ in range(args.rounds):
            file.append(measure([tool, dev.work / f"{name}.key", args.seconds]))
            vault.append(measure([tool, dev.work / f"{name}.uri.pem", args.seconds],
                                 dev.env))
        row(f"EVP_DigestSign, {label}, p50 latency", file, vault, "p50_us", "us")
        row(f"EVP_DigestSign, {label}, p99 latency", file, vault, "p99_us", "us")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    build = args.build.resolve()
    print("| what | ratio vault/file (median) | range | key file | vault | "
          "processor us per operation, file / vault with keyring |")
    print("|---|---|---|---|---|---|")
    with Dev(build) as dev:
        make_key(dev, "rsa", ["-newkey", "rsa:2048"])
        make_key(dev, "ec", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        if "signatures".startswith(args.only):
            signatures(build, dev, args)
        if "handshakes".startswith(args.only):
            for workers in (1, 2):
                handshakes(build, dev, args, workers, [])
            handshakes(build, dev, args, 1, ["--tls12"])


if __name__ == "__main__":
    main()
