"""What an operator decides about the server, beside the models: where it listens, and who is let in."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsmooth.errors import BadParameter

__all__ = ["Settings"]

_LONGEST_DRAIN: Final = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where to listen, and who is let in.

    Raises BadParameter for an address that strangers reach, without keys, or without TLS on the way.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    """None: nothing speaks gRPC."""
    keys: Path | None = None
    """File of the callers, with the hashes of their keys."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    """A proxy in front of this server terminates TLS."""
    most_body: int = 10_000_000
    """Bytes of a request."""
    drain: float = 30.0
    """Seconds that requests in progress may take when the server is shutting down."""

    def __post_init__(self) -> None:
        for name, port in (("port", self.port), ("grpc_port", self.grpc_port)):
            if port is not None and not 0 <= port <= 65535:
                raise BadParameter(f"{name} must be from 0 (any free one) to 65535, got {port}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise BadParameter("TLS needs both: --tls-certificate and --tls-key")
        if not 0.0 <= self.drain <= _LONGEST_DRAIN:
            raise BadParameter(f"--drain must be from 0 to {_LONGEST_DRAIN:g} seconds, got {self.drain}")
        if self.most_body < 1:
            raise BadParameter(f"a body must be allowed at least one byte, got {self.most_body}")
        if not self.private and self.keys is None:
            raise BadParameter(
                f"{self.host} can be reached from other machines: pass --keys, a file of API keys, or listen on 127.0.0.1"
            )
        if not self.loopback and self.tls_key is None and not self.behind_proxy:
            raise BadParameter(
                f"{self.host} would send keys unencrypted: pass --tls-certificate and --tls-key, or --behind-proxy"
            )
        if self.tls_certificate is not None and self.tls_key is not None:
            try:
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self.tls_certificate, self.tls_key)
            except OSError as error:  # ssl.SSLError too
                raise BadParameter(
                    f"{self.tls_certificate}: expected a certificate chain (PEM), and in {self.tls_key} its private key "
                    f"({error.strerror or error})"
                ) from error

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it directly."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def private(self) -> bool:
        """Whether nobody but this machine's users can reach it, directly or through a proxy."""
        return self.loopback and not self.behind_proxy
