"""kill -9 of the service, or of the keyring, at any moment of an order or an import:
afterwards the certificate is there as a whole, or nothing of it.

    python3 tests/integration/certs/kill.py BUILD [ROUNDS]
"""
import http.client
import os
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from client import Dev, check_bundle, expect, openssl, policy, unix_client  # noqa: E402

ROLES = ("keyvault-service", "keyvault-service", "keyvault-keyring")
KILLS_PER_START = 4  # the supervisor waits longer after each further end of a role
POLICIES = [policy({"kty": "EC", "crv": "P-256"}), policy({"kty": "RSA", "key_size": 2048})]


def send(dev, path, body, answers):
    """One request; what was answered, or nothing when the service died."""
    client = unix_client(dev)
    try:
        answers.append(client.api.call("POST", path, body))
    except (OSError, http.client.HTTPException):
        pass
    client.api.close()


def settled(dev, name, seconds=40):
    """(status of the certificate, bundle) once the daemon is back and no order runs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client = unix_client(dev)
        try:
            status, operation = client.api.call("GET", f"/certificates/{name}/pending")
            if status == 200 and operation["status"] != "inProgress":
                expect(operation["status"] == "completed", operation)
            is_settled = status == 404 or status == 200 and operation["status"] == "completed"
            if is_settled:
                status, bundle = client.api.call("GET", f"/certificates/{name}")
            if is_settled and status in (200, 404):
                return status, bundle
            expect(status in (200, 503), f"{status} {operation}")
        except (OSError, http.client.HTTPException):
            pass
        finally:
            client.api.close()
        time.sleep(0.05)
    raise AssertionError(f"{name} does not settle")


def check(dev, name, answers):
    """All three objects, or none. What was acknowledged is there. Returns whether."""
    status, bundle = settled(dev, name)
    client = unix_client(dev)
    if status == 200:
        check_bundle(client, bundle)
    else:
        expect(status == 404, f"{status} {bundle}")
        expect(all(answer[0] not in (200, 202) for answer in answers),
               f"{name} was acknowledged and is lost")
        for path in (f"/keys/{name}", f"/secrets/{name}", f"/certificates/{name}/policy"):
            client.fails(404, "object.not-found", "GET", path)
    client.api.close()
    return status == 200


def one_round(dev, number, pem):
    name = f"round-{number}"
    if number % 2 == 0:
        path, body = f"/certificates/{name}/create", {"policy": POLICIES[number // 2 % 2]}
    else:
        path, body = f"/certificates/{name}/import", {"value": pem}
    role = ROLES[number % len(ROLES)]
    pid = dev.role_pid(role)
    answers = []
    thread = threading.Thread(target=send, args=(dev, path, body, answers))
    thread.start()
    time.sleep(random.uniform(0, 0.04) if random.random() < 0.8 else random.uniform(0, 0.3))
    os.kill(pid, signal.SIGKILL)
    thread.join()
    for status, reply in answers:
        expect(status in (200, 202, 503), f"{status} {reply}")
    is_there = check(dev, name, answers)
    return is_there, bool(answers)


def self_signed(work):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "k.pem", "-subj", "/CN=imported.example", "-out", "c.pem", cwd=work)
    return (work / "k.pem").read_text() + (work / "c.pem").read_text()


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 24
    n_there = n_answered = 0
    with tempfile.TemporaryDirectory(prefix="keyvault-test.") as directory:
        dev = Dev(sys.argv[1], directory=directory)
        try:
            for number in range(rounds):
                if number % KILLS_PER_START == 0:
                    dev.stop()
                    dev.start()
                if number == 0:
                    pem = self_signed(dev.work)
                is_there, is_answered = one_round(dev, number, pem)
                n_there += is_there
                n_answered += is_answered
            client = unix_client(dev)
            for number in range(rounds):
                status, bundle = client.api.call("GET", f"/certificates/round-{number}")
                if status == 200:
                    check_bundle(client, bundle)
        finally:
            dev.stop()
    print(f"ok {rounds} kills: {n_answered} answered before, {n_there} certificates whole, "
          f"{rounds - n_there} not there at all")


if __name__ == "__main__":
    main()
