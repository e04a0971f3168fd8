#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Our TLS against everybody else's: curl and `openssl s_client` against our server, our client
against `openssl s_server`."""
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

BUILD = os.environ["WEFT_BUILD"]
SERVER = os.path.join(BUILD, "examples", "https_hello")
ECHO = os.path.join(BUILD, "examples", "tls_echo_server")
CLIENT = os.path.join(BUILD, "examples", "tls_client")
LIMIT = 60  # seconds for any one program; reached only when something hangs

CONFIG = """
[ca]
default_ca = own
[own]
dir = .
new_certs_dir = .
database = index.txt
serial = serial
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
x509_extensions = authority
[name]
CN = Test CA
[authority]
basicConstraints = critical,CA:TRUE
"""


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=LIMIT)


def make_authority():
    with open("own.cnf", "w", encoding="ascii") as config:
        config.write(CONFIG)
    open("index.txt", "w", encoding="ascii").close()
    with open("serial", "w", encoding="ascii") as serial:
        serial.write("01\n")
    openssl("req", "-x509", "-config", "own.cnf", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem")


def make_certificate(name, host="localhost", dates=(), self_signed=False):
    """NAME.pem and NAME.key, for `host`."""
    request = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
               f"{name}.key", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{host}"]
    if self_signed:
        openssl(*request, "-x509", "-out", f"{name}.pem")
        return
    openssl(*request, "-out", f"{name}.csr")
    openssl("ca", "-batch", "-notext", "-config", "own.cnf", "-keyfile", "ca.key", "-cert",
            "ca.pem", "-in", f"{name}.csr", "-out", f"{name}.pem",
            *(dates or ("-days", "30")))


class Program:
    """A server that says its port in a line of its output; ended by its pid."""

    def __init__(self, command, port_pattern):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.guard = threading.Timer(LIMIT, self.process.kill)
        self.guard.start()
        self.port = None
        for line in self.process.stdout:
            found = re.search(port_pattern, line)
            if found:
                self.port = found.group(1)
                break
        if not self.port:
            raise RuntimeError(f"{command}: {self.stop()}")

    def stop(self):
        """Returns what it wrote to its standard error."""
        self.process.terminate()
        _, errors = self.process.communicate(timeout=LIMIT)
        self.guard.cancel()
        return errors

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.errors = self.stop()


class SClient:
    """`openssl s_client` that stays connected, to talk a line at a time.  Ended by its pid."""

    def __init__(self, port):
        self.process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}",
                                         "-CAfile", "ca.pem", "-verify_return_error", "-quiet"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.guard = threading.Timer(LIMIT, self.process.kill)
        self.guard.start()

    def asks(self, text, lines=1):
        self.process.stdin.write(text)
        self.process.stdin.flush()
        return "".join(self.process.stdout.readline() for _ in range(lines))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.guard.cancel()


def our_server(name="good"):
    return Program([SERVER, "0", f"{name}.pem", f"{name}.key"], r"localhost:(\d+)/")


def their_server(name, *more):
    return Program(["openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-cert",
                    f"{name}.pem", "-key", f"{name}.key", *more], r"^ACCEPT .*:(\d+)$")


def run(*command, stdin=""):
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=LIMIT,
                          check=False)


def our_client(port, *ca):
    return run(CLIENT, "localhost", port, *ca)


def curl(port, *more):
    return run("curl", "--silent", "--show-error", "--noproxy", "*", *more,
               f"https://localhost:{port}/")


# ---- the tests ----------------------------------------------------------------------------------

def test_curl_is_served():
    with our_server() as server:
        for version in ("--tlsv1.3", "--tls-max=1.2"):
            more = version.split("=")
            result = curl(server.port, "--cacert", "ca.pem", *more)
            assert result.returncode == 0, result.stderr
            assert result.stdout.startswith("hello over TLSv1."), result.stdout
            assert version[-3:] in result.stdout.split(",")[0], result.stdout
        many = run("curl", "--silent", "--noproxy", "*", "--parallel", "--cacert", "ca.pem",
                   *[f"https://localhost:{server.port}/{i}" for i in range(40)])
        assert many.stdout.count("hello over TLSv1.3") == 40, many.stdout
    assert server.process.returncode == 0, server.errors


def test_curl_refuses_a_stranger_and_the_server_says_so():
    with our_server() as server:
        result = curl(server.port)
        assert result.returncode == 60, (result.returncode, result.stderr)
        said = server.process.stderr.readline()
        assert "the peer refused: tlsv1 alert unknown ca" in said, said


def test_s_client_is_served():
    with our_server() as server:
        for version in ("-tls1_2", "-tls1_3"):
            result = run("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile",
                         "ca.pem", "-verify_return_error", "-verify_hostname", "localhost",
                         "-quiet", version, stdin="GET / HTTP/1.1\r\n\r\n")
            assert "hello over TLSv1." in result.stdout, (result.stdout, result.stderr)
        old = run("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_1",
                  "-cipher", "ALL:@SECLEVEL=0")
        assert old.returncode != 0
        again = run("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile",
                    "ca.pem", "-reconnect", "-tls1_2", stdin="GET / HTTP/1.1\r\n\r\n")
        assert again.stdout.count("Reused, TLSv1.2") >= 1, again.stdout


def test_what_s_client_sends_comes_back():
    lines = "".join(f"line {i}\n" for i in range(1000))
    with Program([ECHO, "0", "good.pem", "good.key"], r"127.0.0.1:(\d+)") as server:
        with SClient(server.port) as client:
            echoed = client.asks(lines, 1000)
        assert echoed == lines, echoed[:200]
        garbage = socket.create_connection(("127.0.0.1", int(server.port)), LIMIT)
        garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while garbage.recv(100):  # an alert, then the end
            pass
        garbage.close()
    assert "http request" in server.errors, server.errors
    assert server.process.returncode == 0, server.errors


def test_s_client_sees_a_certificate_that_was_reloaded():
    def use(certificate, key):
        shutil.copy(f"{certificate}.pem", "live.pem")
        shutil.copy(f"{key}.key", "live.key")

    def subject():
        result = run("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile",
                     "ca.pem", "-verify_return_error")
        assert result.returncode == 0, result
        return re.search("^subject=CN = (.*)$", result.stdout, re.MULTILINE).group(1)

    def reload():
        server.process.send_signal(signal.SIGHUP)
        return server.process.stdout.readline()

    use("good", "good")
    with Program([ECHO, "0", "live.pem", "live.key"], r"127.0.0.1:(\d+)") as server:
        with SClient(server.port) as early:
            assert early.asks("before\n") == "before\n"
            assert subject() == "good"
            use("other", "other")
            assert subject() == "good"  # nobody has said so yet
            assert reload() == "reloaded\n"
            assert subject() == "other"
            use("other", "good")  # a key that does not fit
            said = reload()
            assert said.startswith("not reloaded: live.key: "), said
            assert subject() == "other"
            assert early.asks("after\n") == "after\n"
    assert server.process.returncode == 0, server.errors


def test_python_reads_to_the_end():
    """Its ssl module takes a missing close_notify for an error, too."""
    context = ssl.create_default_context(cafile="ca.pem")
    with our_server() as server:
        with socket.create_connection(("127.0.0.1", int(server.port)), LIMIT) as plain:
            with context.wrap_socket(plain, server_hostname="localhost",
                                     suppress_ragged_eofs=False) as stream:
                stream.sendall(b"GET / HTTP/1.1\r\n\r\n")
                data = b""
                while piece := stream.recv(100):
                    data += piece
        assert b"hello over TLSv1.3" in data, data


def test_our_client_is_served():
    for version in ("-tls1_2", "-tls1_3"):
        with their_server("good", version) as server:
            result = our_client(server.port, "ca.pem")
            assert result.returncode == 0, result.stderr
            assert "HTTP/1.0 200" in result.stdout, result.stdout
            assert "CN=good for localhost" in result.stderr, result.stderr


def test_our_client_refuses():
    for name, why in (("expired", "certificate has expired (2021-01-01): CN=expired"),
                      ("future", "certificate is not yet valid (2090-01-01): CN=future"),
                      ("selfsigned", "self-signed certificate: CN=selfsigned"),
                      ("other", "the certificate is for other.test, not for localhost")):
        with their_server(name) as server:
            result = our_client(server.port, "ca.pem")
            assert result.returncode == 1, (name, result.stdout)
            assert result.stdout == "", result.stdout
            assert f"tls_client: {why}" in result.stderr, result.stderr
    with their_server("good") as server:
        result = our_client(server.port)  # by the system's store
        assert result.returncode == 1 and "unable to get local issuer" in result.stderr, result
    with their_server("good", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0") as server:
        result = our_client(server.port, "ca.pem")
        assert result.returncode == 1 and "protocol version" in result.stderr, result.stderr


def test_names_and_ports_that_lead_nowhere():
    with our_server() as server:
        port = server.port
    result = our_client(port, "ca.pem")
    assert result.returncode == 1 and "Connection refused" in result.stderr, result.stderr
    result = run(CLIENT, "x" * 100, port, "ca.pem")  # no label is that long: nobody is asked
    assert result.returncode == 1 and ": not a name" in result.stderr, result.stderr
    result = run(CLIENT, "localhost", port, "no-such-file.pem")
    assert "no-such-file.pem: No such file" in result.stderr, result.stderr
    result = run(SERVER, "0", "good.pem", "other.key")
    assert result.returncode == 1 and "other.key: key values mismatch" in result.stderr, result


def main():
    for tool in ("openssl", "curl"):
        if not shutil.which(tool):
            print(f"{tool} is not installed")
            return 77
    if not os.path.exists(SERVER) or not os.path.exists(CLIENT):
        print("the TLS examples are not built")
        return 77
    tests = [(name, fn) for name, fn in globals().items() if name.startswith("test_")]
    failing = 0
    with tempfile.TemporaryDirectory(prefix="weft-tls-") as folder:
        os.chdir(folder)
        make_authority()
        make_certificate("good")
        make_certificate("other", host="other.test")
        make_certificate("expired", dates=("-startdate", "200101000000Z", "-enddate",
                                           "210101000000Z"))
        make_certificate("future", dates=("-startdate", "20900101000000Z", "-enddate",
                                          "20910101000000Z"))
        make_certificate("selfsigned", self_signed=True)
        for name, fn in tests:
            try:
                fn()
                print(f"ok   {name}")
            except Exception as error:  # a test's failure is not the end of the others
                failing += 1
                print(f"FAIL {name}: {type(error).__name__}: {error}")
        os.chdir("/")
    print(f"Tested: {len(tests)} | Failing: {failing}")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
