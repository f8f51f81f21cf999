"""Run `keyvault` and look at what it says: exit codes, JSON, errors.

    cli = Cli(dev)                       a dev.Dev that runs
    cli.json("key", "show", "web")       parsed --json
    cli.fails(NOT_FOUND, "object.not-found", "key", "show", "absent")
"""
import json
import subprocess

DONE, FAILED, USAGE, NOT_FOUND, DENIED, UNREACHABLE = range(6)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Cli:
    def __init__(self, dev):
        self.dev = dev
        self.env = dict(dev.env)
        self.n = 0

    def run(self, *args, code=DONE, stdin=b"", env=None):
        done = subprocess.run([self.dev.build / "keyvault", *map(str, args)],
                              input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**self.env, **(env or {})}, cwd=self.dev.work,
                              start_new_session=True, timeout=60)
        self.n += 1
        expect(done.returncode == code,
               f"keyvault {args}: exit {done.returncode}, not {code}\n"
               f"{done.stdout.decode(errors='replace')}{done.stderr.decode()}")
        return done

    def says(self, text, *args, **kwargs):
        """A success whose standard error has this text: a hint or a warning."""
        done = self.run(*args, **kwargs)
        expect(text in done.stderr.decode(), f"keyvault {args}: says {done.stderr}")
        return done.stdout

    def out(self, *args, **kwargs):
        return self.run(*args, **kwargs).stdout

    def json(self, *args, **kwargs):
        return json.loads(self.out(*args, "--json", **kwargs))

    def fails(self, code, error_id, *args, **kwargs):
        """A failure says `keyvault: ID: message` first and nothing on stdout."""
        done = self.run(*args, code=code, **kwargs)
        lines = done.stderr.decode().splitlines()
        expect(any(line.startswith(f"keyvault: {error_id}: ") for line in lines),
               f"keyvault {args}: expected {error_id}, got {lines}")
        expect(done.stdout == b"", f"keyvault {args}: prints {done.stdout[:100]}")
        return done.stderr.decode()
