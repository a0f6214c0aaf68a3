"""No Python socket leaves the machine: on PYTHONPATH, this module is imported by every interpreter, kernels included.

Local addresses (AF_UNIX, 127.0.0.0/8, ::1, "localhost") stay open: kernels talk to their clients through them.
The block is an audit hook, which no later import can undo and which also sees what the C modules do.
"""

import socket
import sys
from typing import Any

CONNECTING = ("socket.connect", "socket.sendto", "socket.sendmsg")
RESOLVING = ("socket.getaddrinfo", "socket.gethostbyname")
LOCAL = ("", "None", "localhost", "0.0.0.0", "::", "::1")


def refuse_the_network(event: str, args: tuple[Any, ...]) -> None:
    """Raise OSError where a socket is about to reach, or a name to be looked up, beyond this machine."""
    if event in RESOLVING:
        host = args[0]
    elif event in CONNECTING and args[0].family in (socket.AF_INET, socket.AF_INET6) and args[1] is not None:
        host = args[1][0]
    else:
        return
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if name not in LOCAL and not name.startswith(("127.", "::ffff:127.")):
        raise OSError(f"offline: a lesson must not reach the network ({name}); use data of an installed package")


sys.addaudithook(refuse_the_network)
