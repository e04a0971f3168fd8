# SPDX-License-Identifier: MIT
"""nginx as a hello server: `serve.py WORKERS http_hello`.  Unlike the raw servers it parses requests
and builds answers.  Prints its port and becomes nginx, in the foreground, with its files in one
folder of the temporary one, which is used again."""

import os
import shutil
import socket
import sys
import tempfile

CONFIG = """
daemon off; {user} worker_processes {workers}; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 20000; }}
http {{
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port} reuseport; default_type text/plain;
        location / {{ return 200 "Hello, world!\\n"; }}
    }}
}}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def main():
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    folder = os.path.join(tempfile.gettempdir(), "weft-bench-nginx")
    os.makedirs(folder, exist_ok=True)
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w", encoding="utf-8") as config:
        config.write(CONFIG.format(workers=int(sys.argv[1]), folder=folder, port=port, user=user))
    print(f"port\t{port}\thttp_hello", flush=True)
    os.execv(nginx, [nginx, "-c", path, "-p", folder])


if __name__ == "__main__":
    main()
