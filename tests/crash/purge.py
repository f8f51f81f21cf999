"""kill -9 of the whole daemon while a vault is purged: it goes on, and takes nothing else.

    python3 tests/crash/purge.py BUILD [CYCLES]

Each cycle makes a vault with a few hundred rows, deletes and purges it, and kills
supervisor, service and keyring with SIGKILL somewhere within the purge. After the next
start the vault must come to its end by itself, or be deleted still (the kill came before
anything was destroyed: then it is purged again), and a second vault must be whole. Exit
status 1 when rows are left or missing.
"""
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from api import Api  # noqa: E402
from dev import Dev, children, wait_for  # noqa: E402

ROWS = 1000
VAULTS = "/keyvault/v1/vaults/"
DELETED = "/keyvault/v1/deletedvaults/"


def must(api, status, method, path, body=None, vault="default"):
    reply = api.send(method, path, body, headers={"Host": f"{vault}.vault.localhost"})
    if reply.status != status:
        raise AssertionError(f"{method} {path}: {reply.status} {reply.body[:300]}")
    return reply.json


def alive(pid):
    return pathlib.Path(f"/proc/{pid}").exists()


def kill(dev):
    pids = [dev.process.pid] + children(dev.process.pid)
    random.shuffle(pids)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    dev.process.wait()
    for pid in pids:
        wait_for(f"process {pid} does not end", lambda: not alive(pid), 60)
    dev.log.close()
    dev.process = None


def purge_until_killed(sock):
    try:
        Api(sock).send("DELETE", DELETED + "doomed")
    except Exception:  # the daemon was killed under the request
        pass


def rows_of(dev):
    store = sqlite3.connect(f"file:{dev.dir}/db/keyvault.db?mode=ro", uri=True)
    counts = dict(store.execute("SELECT vault, COUNT(*) FROM obj GROUP BY vault"))
    keys = store.execute("SELECT COUNT(*) FROM obj WHERE kind = 11").fetchone()[0]
    store.close()
    return counts, keys


def state_of(dev, before):
    """What the kill has left of the vault that was not there before."""
    counts, keys = rows_of(dev)
    if keys > before[1]:
        return "deleted"
    return "purging" if set(counts) - set(before[0]) else "gone"


def is_gone(api):
    return api.send("GET", DELETED + "doomed").status == 404


def cycle(dev, longest):
    """Returns what the kill found: "deleted", "purging", "gone"."""
    dev.start()
    sock = dev.dir / "api.sock"
    api = Api(sock)
    before = rows_of(dev)
    must(api, 200, "PUT", VAULTS + "doomed", {})
    for i in range(ROWS // 2):
        must(api, 200, "PUT", f"/secrets/s{i}", {"value": "v"}, vault="doomed")
    must(api, 200, "DELETE", VAULTS + "doomed")
    api.close()
    thread = threading.Thread(target=purge_until_killed, args=(sock,))
    thread.start()
    time.sleep(random.uniform(0, longest))
    kill(dev)
    thread.join()
    state = state_of(dev, before)
    dev.start()
    api = Api(dev.dir / "api.sock")
    if state == "deleted":
        must(api, 204, "DELETE", DELETED + "doomed")
    wait_for("the purge does not go on", lambda: is_gone(api), 30)
    if rows_of(dev) != before:
        raise AssertionError(f"before {before}, after {rows_of(dev)}")
    value = must(api, 200, "GET", "/secrets/s", vault="other")["value"]
    if value != "stays":
        raise AssertionError(f"the other vault's secret is {value}")
    api.close()
    dev.stop()
    return state


def main():
    build = sys.argv[1]
    cycles = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    work = pathlib.Path(tempfile.mkdtemp(prefix="keyvault-purge."))
    dev = Dev(build, directory=work)
    seen = {"deleted": 0, "purging": 0, "gone": 0}
    try:
        dev.start()
        api = Api(dev.dir / "api.sock")
        must(api, 200, "PUT", VAULTS + "other", {})
        must(api, 200, "PUT", "/secrets/s", {"value": "stays"}, vault="other")
        api.close()
        dev.stop()
        longest = 0.03
        for number in range(cycles):
            state = cycle(dev, longest)
            seen[state] += 1
            # stay where the purge is interrupted
            longest *= {"deleted": 1.4, "purging": 1, "gone": 0.7}[state]
            print(f"cycle {number + 1}/{cycles}: {state}", flush=True)
    finally:
        if dev.process is not None:
            dev.stop()
        shutil.rmtree(work, ignore_errors=True)
    print(f"{cycles} cycles, what the kill left: {seen}")
    if cycles >= 10 and seen["purging"] == 0:
        print("no purge was interrupted")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
