"""What the audit log costs: REST calls a second with it and without, in pairs.

    python3 tests/bench/audit.py BUILD [--rounds N] [--seconds S] [--clients N]

Each client is a process with one connection to api.sock that asks again when it has its
answer. The two daemons run side by side; one is measured after the other and the other way
round in the next round, so that the drift of a shared machine hits both. Prints Markdown:
medians, the median of the ratios, and the processor time of the service for one call.
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from api import Api  # noqa: E402
from dev import Dev  # noqa: E402

DIGEST = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def request(method, path, body=None):
    data = json.dumps(body).encode() if body is not None else b""
    head = (f"{method} {path}?api-version=7.5 HTTP/1.1\r\nHost: default.vault.localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n")
    return head.encode() + data


CALLS = {
    "get a secret": lambda i: request("GET", "/secrets/s"),
    "set a secret": lambda i: request("PUT", f"/secrets/s{i}", {"value": "x"}),
    "sign (P-256)": lambda i: request("POST", "/keys/k//sign", {"alg": "ES256", "value": DIGEST}),
}


def client(path, data, seconds, counts):
    done = 0
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            s.sendall(data)
            got = b""
            while b"\r\n\r\n" not in got:
                got += s.recv(65536)
            head, body = got.split(b"\r\n\r\n", 1)
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            while len(body) < length:
                body += s.recv(65536)
            done += 1
    counts.put(done)


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(dev, call, args):
    """Calls a second, and microseconds of the service's processor time for each."""
    counts = multiprocessing.Queue()
    pid = dev.role_pid("keyvault-service")
    clients = [multiprocessing.Process(target=client, args=(
        str(dev.dir / "api.sock"), call(i), args.seconds, counts)) for i in range(args.clients)]
    before, begin = cpu_s(pid), time.monotonic()
    for one in clients:
        one.start()
    total = sum(counts.get() for _ in clients)
    for one in clients:
        one.join()
    took, spent = time.monotonic() - begin, cpu_s(pid) - before
    return total / took, spent * 1e6 / total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--clients", type=int, default=8)
    args = parser.parse_args()
    with Dev(args.build) as on, Dev(args.build) as off:
        off.stop()
        (off.dir / "keyvault.conf").write_text("audit { enabled = off }\n")
        off.start()
        for dev in (on, off):
            api = Api(dev.dir / "api.sock")
            assert api.send("PUT", "/secrets/s", {"value": "x"}).status == 200
            assert api.send("POST", "/keys/k/create", {"kty": "EC"}).status == 200
            api.close()
        print(f"{args.clients} clients, medians of {args.rounds} rounds of {args.seconds} s\n")
        print("| call | with, calls/s | without | ratio | service µs/call with | without |")
        print("|---|---|---|---|---|---|")
        for name, call in CALLS.items():
            runs = []
            for i in range(args.rounds):
                order = (on, off) if i % 2 == 0 else (off, on)
                got = {dev is on: measure(dev, call, args) for dev in order}
                runs.append((got[True], got[False]))
            median = statistics.median
            print(f"| {name} | {median(r[0][0] for r in runs):.0f} "
                  f"| {median(r[1][0] for r in runs):.0f} "
                  f"| {median(r[0][0] / r[1][0] for r in runs):.2f} "
                  f"| {median(r[0][1] for r in runs):.0f} "
                  f"| {median(r[1][1] for r in runs):.0f} |", flush=True)


if __name__ == "__main__":
    main()
