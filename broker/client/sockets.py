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
        end = str((self.getpeercert() or {}).get("notAfter", ""))
        if isinstance(self.context, ClientContext) and end:
            self.context.certificate_end = 1000 * ssl.cert_time_to_seconds(end)


class ClientContext(ssl.SSLContext):
    """A context that records the end of the certificate of the server, in milliseconds; 0 before a connection."""

    certificate_end: int = 0


def tls_context(ca_file: Path | None) -> ClientContext:
    """Return a TLS 1.2+ client context that trusts `ca_file`, or the system's authorities if None."""
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.create_default_context().verify_flags
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _TlsSocket
    return context


def disable_nagle(_client: paho.Client, _userdata: object, sock: Any) -> None:  # noqa: ANN401 - paho's
    """Send small packets at once. A paho callback for `on_socket_open`."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
