"""Sockets of MQTT clients: TLS contexts and options."""

import socket
import ssl
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when its handshake fails; paho leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a TLS 1.2+ client context that trusts `ca_file`, or the system's authorities if None."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _TlsSocket
    return context


def disable_nagle(_client: paho.Client, _userdata: object, sock: Any) -> None:  # noqa: ANN401 - paho's
    """Send small packets at once. A paho callback for `on_socket_open`."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
