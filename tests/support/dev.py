"""Start and stop a real `keyvaultd --dev` and a real nginx, for tests in Python.

    with Dev(build) as dev:
        dev.cli("key", "create", "web", "--type", "EC")
        with Nginx(dev, servers) as nginx: ...

Everything lives in a temporary directory that goes away at the end; ports are free
ones; only processes started here are ended.
"""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, test, seconds=15):
    """Wait until test() is true; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = test()
        if value:
            return value
        time.sleep(0.05)
    raise TimeoutError(what)


def listens(port):
    with socket.socket() as s:
        s.settimeout(0.2)
        return s.connect_ex(("127.0.0.1", port)) == 0


def children(pid):
    """Pids of the direct children of a process."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(p) for p in task.read_text().split()]
    return found


def stop(process, seconds=15):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    return process.returncode


def sanitizers(module):
    """What a program needs in its environment to load a sanitized module; nothing
    for another one."""
    if b"__asan_init" not in pathlib.Path(module).read_bytes():
        return {}
    listed = subprocess.run(["ldd", module], check=True,
                            stdout=subprocess.PIPE).stdout.decode()
    libraries = " ".join(line.split()[2] for line in listed.splitlines()
                         if "libasan" in line or "libubsan" in line)
    options = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    return {"LD_PRELOAD": libraries, "ASAN_OPTIONS": options}


def wrap_tools(module, directory):
    """Wrappers for programs that load a sanitized module but have no such runtime
    (curl hangs with it: there the module stays out). Returns whether it is one."""
    needs = sanitizers(module)
    if not needs:
        return False
    preload = " ".join(f"{name}='{value}'" for name, value in needs.items())
    directory.mkdir(mode=0o755, exist_ok=True)
    for tool, change in (("openssl", preload), ("nginx", preload),
                         ("curl", "-u OPENSSL_CONF")):
        wrapper = directory / tool
        wrapper.write_text(f"#!/bin/sh\nexec env {change} {shutil.which(tool)} \"$@\"\n")
        wrapper.chmod(0o755)
    return True


class Dev:
    """One keyvaultd --dev; `env` is what DIR/env exports, on top of ours."""

    def __init__(self, build, directory=None, options=()):
        self.build = pathlib.Path(build).resolve()
        self.work = pathlib.Path(directory or tempfile.mkdtemp(prefix="keyvault-test."))
        self.work.chmod(0o711)
        self.dir = self.work / "dev"
        self.owns_work = directory is None
        self.options = list(options)
        self.process = None
        self.env = {}
        self.is_sanitized = False

    def start(self):
        self.log = open(self.work / "keyvaultd.log", "ab")
        begin = self.log.tell()
        env = {k: v for k, v in os.environ.items() if not k.startswith("KEYVAULT_")}
        env.pop("OPENSSL_CONF", None)
        self.process = subprocess.Popen(
            [self.build / "keyvaultd", "--dev", self.dir, "--listen", "127.0.0.1:0"]
            + self.options,
            stdout=self.log, stderr=subprocess.STDOUT, env=env, cwd="/")

        def ready():
            if self.process.poll() is not None:
                raise RuntimeError("keyvaultd ended:\n" + self.log_text()[-4000:])
            with open(self.work / "keyvaultd.log", "rb") as f:
                f.seek(begin)
                return b"keyvaultd: ready" in f.read()

        wait_for("keyvaultd is not ready", ready, 60)
        self.env = self.read_env(env)
        return self

    def read_env(self, env):
        out = subprocess.run(
            ["sh", "-c", f'. "{self.dir}/env" && env -0'], env=env, check=True,
            stdout=subprocess.PIPE).stdout
        env = dict(item.split("=", 1) for item in out.decode().split("\0") if item)
        tools = self.work / "tools"
        self.is_sanitized = wrap_tools(self.build / "keyvault.so", tools)
        if self.is_sanitized:
            first, rest = env["PATH"].split(":", 1)
            env["PATH"] = f"{first}:{tools}:{rest}"
        return env

    def log_text(self):
        return (self.work / "keyvaultd.log").read_text(errors="replace")

    def role_pid(self, name):
        """Pid of a role's present process: "keyvault-service"."""
        for pid in children(self.process.pid):
            try:
                exe = os.readlink(f"/proc/{pid}/exe")
            except OSError:
                continue
            if os.path.basename(exe) == name:
                return pid
        return None

    def run(self, *args, check=True, **kwargs):
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        done = subprocess.run([str(a) for a in args], env=self.env, **kwargs)
        if check and done.returncode != 0:
            raise RuntimeError(
                f"{args}: exit {done.returncode}\n{(done.stderr or b'').decode()}")
        return done

    def cli(self, *args, **kwargs):
        return self.run(self.build / "keyvault", *args, **kwargs).stdout

    def make_key(self, name, newkey):
        """A key that exists twice: work/NAME.key and NAME.crt, with NAME.pem for both;
        and in the vault: NAME.uri.pem. `newkey` are arguments of openssl-req(1)."""
        key, crt, bundle = (self.work / f"{name}.{s}" for s in ("key", "crt", "pem"))
        env = {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"}
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj",
                        f"/CN={name}", "-keyout", key, "-out", crt, *newkey],
                       check=True, env=env, stderr=subprocess.DEVNULL)
        bundle.write_bytes(key.read_bytes() + crt.read_bytes())
        self.cli("cert", "import", name, "--file", bundle)
        (self.work / f"{name}.uri.pem").write_bytes(self.cli("key", "uri-pem", name))

    def stop(self):
        if self.process is not None:
            code = stop(self.process)
            self.log.close()
            self.process = None
            return code
        return 0

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.stop()
        if self.owns_work:
            shutil.rmtree(self.work, ignore_errors=True)


class Nginx:
    """nginx with one TLS server per (name, certificate, key); `port[name]`. `env` in
    place of the dev environment, `main`: more directives of the main context."""

    def __init__(self, dev, servers, workers=1, env=None, main=""):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="nginx.", dir=dev.work))
        self.dir.chmod(0o711)
        self.port = {name: free_port() for name, _, _ in servers}
        self.env = dict(dev.env if env is None else env)
        blocks = "".join(
            f"server {{ listen 127.0.0.1:{self.port[name]} ssl backlog=1024; "
            f"ssl_certificate {cert}; ssl_certificate_key {key}; "
            f"location / {{ return 200 '{name}\\n'; }} }}\n"
            for name, cert, key in servers)
        user = "user www-data;" if os.geteuid() == 0 else ""
        temp = "".join(f"{k}_temp_path {self.dir}/{k};" for k in
                       ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.dir / "nginx.conf").write_text(
            f"{user} worker_processes {workers}; pid {self.dir}/nginx.pid; {main}\n"
            f"error_log {self.dir}/error.log notice; worker_rlimit_nofile 8192;\n"
            f"events {{ worker_connections 2048; }}\n"
            f"http {{ access_log off; {temp} ssl_session_tickets off;\n"
            f"ssl_session_cache off; ssl_protocols TLSv1.2 TLSv1.3;\n{blocks} }}\n")
        self.workers = workers
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            ["nginx", "-p", self.dir, "-c", self.dir / "nginx.conf", "-g", "daemon off;",
             "-e", self.dir / "error.log"],
            env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for("nginx does not listen", lambda: (
                self.process.poll() is None
                and len(children(self.process.pid)) == self.workers
                and all(listens(p) for p in self.port.values())))
        except BaseException:
            print(self.errors())
            self.__exit__()
            raise
        return self

    def errors(self):
        log = self.dir / "error.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def pids(self):
        return [self.process.pid] + children(self.process.pid)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def __exit__(self, *_):
        stop(self.process)
