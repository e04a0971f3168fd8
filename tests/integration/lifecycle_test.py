#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""weftd as a process: command line, start, reload, stop, the service manager, exit statuses.

Each case boots weftd in a temporary folder of its own.  Nothing sleeps: cases wait for a line, a
reply or the end of a process, with a deadline.  Prints "Tested: N | Failing: M".
"""
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from support import cleanup  # noqa: E402

DEADLINE = 60
WEFTD = os.path.join(os.environ.get("WEFT_BUILD", "build/release"), "daemon", "weftd")


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def send(self, method, params=None):
        request = {"jsonrpc": "2.0", "id": 1, "method": method}
        if params is not None:
            request["params"] = params
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def receive(self):
        line = self.file.readline()
        return json.loads(line) if line else None

    def ask(self, method, params=None):
        self.send(method, params)
        return self.receive()

    def result(self, method, params=None):
        reply = self.ask(method, params)
        assert "result" in reply, reply
        return reply["result"]

    def close(self):
        self.file.close()
        self.socket.close()


class Folder:
    """A temporary folder with the state, the socket, a configuration and whatever runs in it."""

    def __init__(self):
        self.path = cleanup.folder("weft-life-")
        self.socket = os.path.join(self.path, "weft.sock")
        self.config = os.path.join(self.path, "weftd.conf")
        self.processes = []
        self.configure("")

    def configure(self, text):
        with open(self.config, "w") as file:
            file.write("[daemon]\ndrain = 0s\n" + text)

    def command(self, *more):
        return [WEFTD, "--config", self.config, "--socket", self.socket, "--state-dir",
                os.path.join(self.path, "state"), *more]

    def run(self, *more):
        """Run to the end; (status, stdout, stderr)."""
        done = subprocess.run([WEFTD, *more], capture_output=True, text=True, timeout=DEADLINE)
        return done.returncode, done.stdout, done.stderr

    def start(self, wait_for="ready on", **options):
        process = self.adopt(subprocess.Popen(self.command(), stderr=subprocess.PIPE, **options))
        if wait_for:
            wait_for_log(process, wait_for)
        return process

    def adopt(self, process):
        process.log = b""
        process.seen = 0
        self.processes.append(process)
        return process

    def connect(self):
        return Connection(self.socket)

    def clean_up(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stderr.close()
        shutil.rmtree(self.path, ignore_errors=True)


def wait_for_log(process, text):
    """Read the log until text comes, behind what earlier calls waited for."""
    while process.log.find(text.encode(), process.seen) < 0:
        ready, _, _ = select.select([process.stderr], [], [], DEADLINE)
        assert ready, f"'{text}' never came: {process.log}"
        piece = os.read(process.stderr.fileno(), 65536)
        assert piece, f"the log ended without '{text}': {process.log}"
        process.log += piece
    process.seen = process.log.find(text.encode(), process.seen) + len(text)


def stop(process, signals=(signal.SIGTERM,)):
    for each in signals:
        process.send_signal(each)
    return process.wait(DEADLINE)


# ---- the command line ---------------------------------------------------------------------------


def test_version_and_help(folder):
    status, out, _ = folder.run("--version")
    assert status == 0 and out.startswith("weftd "), out
    status, out, _ = folder.run("--help")
    assert status == 0 and "--state-dir" in out, out


def test_wrong_usage_is_status_2(folder):
    for arguments in (["--nonsense"], ["--config"], ["extra"]):
        status, _, err = folder.run(*arguments)
        assert status == 2 and "--help" in err, (status, err)


def test_check_says_good_or_where(folder):
    status, out, _ = folder.run("--config", folder.config, "--check")
    assert status == 0 and "good" in out, out
    folder.configure("drian = 1s\n")
    status, _, err = folder.run("--config", folder.config, "--check")
    assert status == 78, status
    assert "weftd.conf:3: unknown key 'drian' in [daemon] (did you mean 'drain'?)" in err, err
    assert folder.run("--config", folder.config)[0] == 78


def test_missing_configuration_is_status_78(folder):
    status, _, err = folder.run("--config", folder.path + "/none.conf", "--check")
    assert status == 78 and "none.conf" in err, (status, err)


def test_printed_configuration_is_good_again(folder):
    folder.configure("[queue q]\nconcurrency = 3\n")
    status, out, _ = folder.run("--config", folder.config, "--print-config", "--socket",
                                folder.socket)
    assert status == 0 and f"socket = {folder.socket}" in out and "[queue q]" in out, out
    with open(folder.config, "w") as file:
        file.write(out)
    assert folder.run("--config", folder.config, "--print-config")[1] == out


# ---- start --------------------------------------------------------------------------------------


def expect_refusal(folder, process, text):
    assert process.wait(DEADLINE) == 1
    err = process.log + process.stderr.read()
    assert text.encode() in err, err


def test_socket_of_a_live_weftd_is_refused(folder):
    first = folder.start()
    other = Folder()
    try:
        other.socket = folder.socket
        expect_refusal(other, other.start(wait_for=None), f"process {first.pid}")
    finally:
        other.clean_up()
    assert folder.connect().result("ping") == "pong"
    assert stop(first) == 0


def test_state_of_a_live_weftd_is_refused(folder):
    first = folder.start()
    first_socket, folder.socket = folder.socket, folder.path + "/other.sock"
    expect_refusal(folder, folder.start(wait_for=None), "in use by another weftd")
    folder.socket = first_socket
    assert stop(first) == 0


def test_stale_socket_is_replaced(folder):
    process = folder.start()
    process.kill()
    process.wait()
    assert os.path.exists(folder.socket)
    process = folder.start()
    assert folder.connect().result("ping") == "pong"
    assert stop(process) == 0
    assert not os.path.exists(folder.socket)


def test_overlong_socket_path_is_status_78(folder):
    folder.socket = folder.path + "/" + "s" * 120
    process = folder.start(wait_for=None)
    assert process.wait(DEADLINE) == 78
    assert b"107" in process.stderr.read()


def test_state_folder_that_cannot_be_made_is_status_1(folder):
    status, _, err = folder.run("--config", folder.config, "--socket", folder.socket,
                                "--state-dir", folder.config + "/below-a-file")
    assert status == 1 and "below-a-file" in err, (status, err)


# ---- stop ---------------------------------------------------------------------------------------


def submit_sleep(connection):
    identity = connection.result("job.submit", {"call": "sleep", "args": {"seconds": 1000}})["id"]
    while connection.result("job.get", {"id": identity})["state"] != "running":
        pass
    return identity


def test_stop_tells_who_waits_and_keeps_the_job(folder):
    process = folder.start()
    connection = folder.connect()
    identity = submit_sleep(connection)
    connection.send("job.wait", {"ids": [identity]})
    assert stop(process) == 0
    assert connection.receive()["error"]["data"]["name"] == "shutting_down"
    assert connection.receive() is None
    process = folder.start()
    job = folder.connect().result("job.get", {"id": identity})
    assert job["state"] in ("queued", "running") and job["attempt"] <= 1, job
    assert stop(process) == 0


def test_sigint_stops_too(folder):
    assert stop(folder.start(), [signal.SIGINT]) == 0


def test_second_signal_hurries(folder):
    folder.configure("drain = 1000s\ngrace = 2000s\n")
    process = folder.start()
    submit_sleep(folder.connect())
    process.send_signal(signal.SIGTERM)
    wait_for_log(process, "SIGTERM: stopping")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0


# ---- reload -------------------------------------------------------------------------------------


def test_reload_applies_names_and_refuses(folder):
    process = folder.start()
    connection = folder.connect()
    assert connection.ask("job.submit", {"call": "echo", "queue": "new"})["error"]["data"][
        "name"] == "no_such_queue"
    folder.configure("socket_mode = 0600\n[queue new]\n")
    report = connection.result("daemon.reload")
    assert report == {"changed": 1, "restart": ["daemon.socket_mode"]}, report
    wait_for_log(process, "configuration reloaded: 1 changed")
    assert connection.result("job.submit", {"call": "echo", "queue": "new"})["id"] > 0
    folder.configure("[queue other]\nconcurency = 1\n")
    error = connection.ask("daemon.reload")["error"]
    assert error["data"]["name"] == "bad_config" and "weftd.conf:4" in error["message"], error
    assert connection.result("job.submit", {"call": "echo", "queue": "new"})["id"] > 0
    folder.configure("")
    process.send_signal(signal.SIGHUP)
    wait_for_log(process, "configuration reloaded: 1 changed")
    assert connection.ask("job.submit", {"call": "echo", "queue": "new"})["error"]["data"][
        "name"] == "no_such_queue"
    assert stop(process) == 0


# ---- the service manager ------------------------------------------------------------------------


class Manager:
    def __init__(self, folder):
        self.path = os.path.join(folder.path, "notify.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(DEADLINE)

    def wait_for(self, start):
        """Everything until a message that begins so, and that one."""
        heard = []
        while not heard or not heard[-1].startswith(start):
            heard.append(self.socket.recv(4096).decode())
        return heard


def test_manager_hears_of_everything(folder):
    manager = Manager(folder)
    process = folder.start(env=dict(os.environ, NOTIFY_SOCKET=manager.path))
    manager.wait_for("READY=1")
    process.send_signal(signal.SIGHUP)
    heard = manager.wait_for("READY=1")
    assert any(each.startswith("RELOADING=1\nMONOTONIC_USEC=") for each in heard), heard
    process.send_signal(signal.SIGTERM)
    heard = manager.wait_for("EXTEND_TIMEOUT_USEC=")
    assert "STOPPING=1" in heard, heard
    assert process.wait(DEADLINE) == 0
    manager.socket.close()


def test_watchdog_is_fed(folder):
    manager = Manager(folder)
    script = 'WATCHDOG_PID=$$; export WATCHDOG_PID; exec "$@"'
    command = ["sh", "-c", script, "sh", *folder.command()]
    process = folder.adopt(subprocess.Popen(command, stderr=subprocess.PIPE, env=dict(
        os.environ, NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="300000")))
    manager.wait_for("READY=1")
    for _ in range(5):
        manager.wait_for("WATCHDOG=1")
    assert stop(process) == 0
    manager.socket.close()


def test_socket_activation(folder):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(folder.socket)
    listener.listen()
    connection = folder.connect()  # before weftd runs
    connection.send("hello")
    script = 'exec 3<&%d; LISTEN_PID=$$; LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; exec "$@"'
    command = ["bash", "-c", script % listener.fileno(), "sh", WEFTD, "--config", folder.config,
               "--state-dir", os.path.join(folder.path, "state")]
    process = folder.adopt(subprocess.Popen(command, stderr=subprocess.PIPE,
                                            pass_fds=[listener.fileno()]))
    assert connection.receive()["result"]["pid"] == process.pid
    wait_for_log(process, f"ready on {folder.socket}")
    job = connection.result("job.submit", {"argv": ["sh", "-c", 'echo "$WEFT_SOCKET$LISTEN_FDS"']})
    connection.result("job.wait", {"ids": [job["id"]]})
    logs = connection.result("job.logs", {"id": job["id"]})
    assert logs["data"] == folder.socket + "\n", logs
    assert stop(process) == 0
    assert os.path.exists(folder.socket), "it is not weftd's"
    listener.close()


# ---- the allocator ------------------------------------------------------------------------------


def test_memory_settings_are_in_force(folder):
    folder.configure("[memory]\narenas = 3\n")
    process = folder.start()
    memory = folder.connect().result("daemon.stats")["memory"]
    assert memory["rss"] > 0, memory
    if memory["allocator"] == "jemalloc":  # sanitizer builds keep theirs
        assert 3 <= memory["arenas"] <= 4, memory  # one more for huge blocks
        assert memory["version"].startswith("5."), memory
        assert memory["allocated"] > 0, memory
    assert stop(process) == 0


def main():
    if not os.access(WEFTD, os.X_OK):
        print(f"{WEFTD} is not built")
        return 77
    wanted = sys.argv[1:]
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    tests = [(name, test) for name, test in tests if not wanted or name in wanted]
    failing = 0
    cleanup.on_signals()
    for name, test in tests:
        folder = Folder()
        try:
            test(folder)
        except Exception:  # whatever it was, the other cases still run
            failing += 1
            print(f"[FAIL] {name}")
            traceback.print_exc(file=sys.stdout)
            for process in folder.processes:
                print(f"  log: {process.log.decode(errors='replace')}")
        finally:
            folder.clean_up()
    print(f"Tested: {len(tests)} | Failing: {failing}")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
