"""Why a request is not answered: one sentence, an HTTP status, and a short word for metrics."""

from __future__ import annotations

from dsmooth.errors import BadInput, BadModel, DsmoothError, Expired, ServiceStopped, SessionClosed

__all__ = ["REASONS", "Refused", "refusal_of"]

REASONS = {
    "bad_request": 400, "bad_image": 400, "unauthenticated": 401, "forbidden": 403, "not_found": 404, "timeout": 408,
    "too_large": 413, "unsupported": 415, "overloaded": 429, "quota": 429, "closed": 499, "failed": 500, "full": 503,
    "draining": 503, "upstream": 503, "expired": 504,
}  # fmt: skip
"""Every reason, and its status; a label of metrics takes no other values."""


class Refused(Exception):
    """A request is not answered, and its client hears why. `retry_after`: seconds after which it is worth another try."""

    def __init__(self, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.reason, self.status, self.retry_after = reason, REASONS[reason], retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After in whole seconds, rounded up, where another try is worth it."""
        return {} if self.retry_after is None else {"Retry-After": str(max(1, -int(-self.retry_after // 1)))}


def refusal_of(error: DsmoothError) -> Refused:
    """What a client hears of an error of the core."""
    if isinstance(error, Expired):
        return Refused(
            "expired", "not all votes came before the deadline, and fewer votes make no certificate: try again later"
        )
    if isinstance(error, SessionClosed):
        return Refused("draining", "the server is shutting down; try again in a moment", retry_after=5.0)
    if isinstance(error, ServiceStopped):
        return Refused("upstream", f"the service behind this server failed: {error}")
    if isinstance(error, BadInput) and not isinstance(error, BadModel):
        return Refused("bad_request", str(error))
    return Refused("failed", f"nothing was certified: {error}")
