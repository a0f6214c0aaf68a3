"""The block on the network acts in every interpreter that has this folder on PYTHONPATH, and spares local addresses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REFUSAL = "offline: a lesson must not reach the network"


def python(code: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)",  # an address kept for documentation
        "import socket; socket.socket().connect_ex(('192.0.2.1', 80))",
        "import socket; socket.getaddrinfo('example.invalid', 80)",
        "import socket; socket.gethostbyname('example.invalid')",
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))",
        "import socket; socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))",
        "import urllib.request; urllib.request.urlopen('http://192.0.2.1/', timeout=5)",
        "import _socket; _socket.socket().connect(('192.0.2.1', 80))",
    ],
)
def test_the_network_is_refused(code: str) -> None:
    done = python(code)
    assert done.returncode == 1
    assert REFUSAL in done.stderr


def test_this_machine_is_reached() -> None:
    code = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    for host in ("127.0.0.1", "localhost"):
        with socket.create_connection((host, server.getsockname()[1])) as client:
            server.accept()[0].sendall(b"heard")
            print(client.recv(5).decode())
a, b = socket.socketpair()
a.sendall(b"unix"); print(b.recv(4).decode())
"""
    done = python(code)
    assert done.stdout.split() == ["heard", "heard", "unix"], done.stderr


def test_a_lesson_is_refused(tmp_path: Path) -> None:
    """The kernel that executes lessons has the block."""
    from nbclient.exceptions import CellExecutionError
    from nbformat.v4 import new_code_cell, new_notebook

    from tools.notebooks import execute

    cell = new_code_cell("import urllib.request\nurllib.request.urlopen('http://192.0.2.1/', timeout=5)")
    with pytest.raises(CellExecutionError, match=REFUSAL):
        execute(new_notebook(cells=[cell]), tmp_path)
