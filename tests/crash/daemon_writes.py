"""kill -9 of the whole daemon during writes: nothing acknowledged is ever lost.

    python3 tests/crash/daemon_writes.py BUILD [CYCLES]

Each cycle starts keyvaultd --dev on the same directory, checks every object that was
ever acknowledged, lets four writers create secrets, keys and certificates as fast as
they can, and kills supervisor, service and keyring with SIGKILL at a random moment. Prints what was
acknowledged and lost; exit status 1 when anything is missing or differs.
"""
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from api import Api  # noqa: E402
from dev import Dev, children, wait_for  # noqa: E402

WRITERS = 4
POLICY = {"issuer": {"name": "Self"}, "key_props": {"kty": "EC", "crv": "P-256"},
          "x509_props": {"subject": "CN=crash.localhost"}}


def write_until(stop, sock, cycle, writer, acked):
    """Write until the daemon dies; put what was acknowledged into `acked`."""
    n = 0
    try:
        api = Api(sock)
        while not stop.is_set():
            name = f"c{cycle}-w{writer}-{n}"
            if n % 8 == 7:
                status, body = api.call("POST", f"/keys/{name}/create",
                                        {"kty": "EC", "crv": "P-256"})
                if status == 200:
                    acked[("keys", name)] = body["key"]["x"]
            elif n % 8 == 3:  # acknowledged: the order, which must then complete
                status, body = api.call("POST", f"/certificates/{name}/create",
                                        {"policy": POLICY})
                if status == 202:
                    acked[("certificates", name)] = body["csr"]
            else:
                value = f"value of {name} {random.random()}"
                status, body = api.call("PUT", f"/secrets/{name}", {"value": value})
                if status == 200:
                    acked[("secrets", name)] = value
            n += 1
    except Exception:  # the daemon was killed under the request: not acknowledged
        pass


def read(api, collection, name):
    """What was written under a name, or None."""
    if collection == "certificates":
        return read_certificate(api, name)
    status, body = api.call("GET", f"/{collection}/{name}")
    if status != 200:
        return None
    return body["value"] if collection == "secrets" else body["key"]["x"]


def read_certificate(api, name):
    """The request of a completed order whose three objects are there."""
    for _ in range(100):
        status, operation = api.call("GET", f"/certificates/{name}/pending")
        if status != 200 or operation["status"] == "failed":
            return None
        if operation["status"] == "completed":
            break
        time.sleep(0.1)
    status, body = api.call("GET", f"/certificates/{name}")
    if status != 200 or "cer" not in body:
        return None
    for link in ("kid", "sid"):
        status, _ = api.call("GET", "/" + body[link].split("/", 3)[3])
        if status != 200:
            return None
    return operation["csr"]


def check(sock, acked):
    lost = []
    api = Api(sock)
    for (collection, name), expected in acked.items():
        if read(api, collection, name) != expected:
            lost.append((collection, name))
    api.close()
    return lost


def alive(pid):
    return pathlib.Path(f"/proc/{pid}").exists()


def cycle(dev, number, acked):
    dev.start()
    sock = dev.dir / "api.sock"
    lost = check(sock, acked)
    stop = threading.Event()
    new = [{} for _ in range(WRITERS)]
    threads = [threading.Thread(target=write_until,
                                args=(stop, sock, number, i, new[i]))
               for i in range(WRITERS)]
    for thread in threads:
        thread.start()
    time.sleep(random.uniform(0.05, 0.6))
    pids = [dev.process.pid] + children(dev.process.pid)
    random.shuffle(pids)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    stop.set()
    for thread in threads:
        thread.join()
    dev.process.wait()
    for pid in pids:
        wait_for(f"process {pid} does not end", lambda: not alive(pid), 60)
    dev.log.close()
    dev.process = None
    for found in new:
        acked.update(found)
    return lost


def main():
    build = sys.argv[1]
    cycles = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    work = pathlib.Path(tempfile.mkdtemp(prefix="keyvault-crash."))
    acked = {}
    lost = []
    try:
        dev = Dev(build, directory=work)
        for number in range(cycles):
            lost += cycle(dev, number, acked)
            if len(acked) > 3000:  # old ones were checked many times
                for old in list(acked)[:1500]:
                    del acked[old]
            print(f"cycle {number + 1}/{cycles}: {len(acked)} acknowledged objects "
                  f"held, {len(lost)} lost", flush=True)
        dev.start()
        lost += check(dev.dir / "api.sock", acked)
        dev.stop()
    finally:
        if dev.process is not None:
            dev.stop()
        shutil.rmtree(work, ignore_errors=True)
    for item in lost:
        print("LOST", *item)
    print(f"{cycles} cycles, {len(lost)} acknowledged objects lost")
    return 1 if lost or not acked else 0


if __name__ == "__main__":
    sys.exit(main())
