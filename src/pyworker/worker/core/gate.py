"""Who is let in: a ticket good once, an RSA signature of the engine, or anybody (the wire, section 4).

Pure: keys and time come in. A request is *checked* when it arrives and its ticket *spent* when it is admitted, so that
a 429 or 503 leaves the ticket good.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from enum import Enum

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from pyworker.errors import AuthenticationFailed, NotReady, TicketOvertaken
from pyworker.tickets import SCHEMES, TicketKey, read_ticket, rsa_message, verify_rsa
from pyworker.wire import AuthData
from pyworker.worker.core.clock import ClockOffset

__all__ = ["LEEWAY_S", "Gate", "Grant", "Mode"]

LEEWAY_S = 30.0
REPLAYS_REMEMBERED = 100
REQNUM_WINDOW = 100
_VERIFIED_REMEMBERED = 4096
_NONCES_REMEMBERED = 1_000_000


class Mode(Enum):
    """What proves that a request came from the engine."""

    TICKET = "ticket"
    SIGNATURE = "signature"
    OFF = "off"


class Grant(msgspec.Struct, frozen=True):
    """What a check found and admission will spend: a nonce with its expiry, or a message that was signed."""

    nonce: bytes | None = None
    expires_s: float = 0.0
    message: bytes | None = None
    reqnum: int = 0


OPEN_GRANT = Grant()  # nothing to spend


class Gate:
    """Checks the ``auth_data`` of requests to the worker at ``url``.

    Times are epoch s of our clock; ``clock`` says how far the engine's, which tickets are written in, is from it.
    """

    def __init__(self, *, url: str, unsecured: bool, ticket_keys: Sequence[TicketKey], started_s: float) -> None:
        self.url = url.rstrip("/")
        self.public_key: rsa.RSAPublicKey | None = None
        self.clock = ClockOffset()
        self._keys = {key.id: key for key in ticket_keys}
        self._started_s = math.floor(started_s * 1000) / 1000  # tickets count in ms
        self._spent = _SpentNonces(_NONCES_REMEMBERED)
        self._verified: OrderedDict[tuple[str, bytes | str], bool] = OrderedDict()
        self._seen_messages: deque[bytes] = deque(maxlen=REPLAYS_REMEMBERED)
        self._highest_reqnum = 0
        self.mode = Mode.OFF if unsecured else Mode.TICKET if self._keys else Mode.SIGNATURE

    def check(self, auth_data: AuthData, now_s: float) -> Grant:
        """What the request may spend on admission.

        Raises AuthenticationFailed when the proof does not hold here, TicketOvertaken when it did once, NotReady while
        the engine's key is not known.
        """
        if self.mode is Mode.OFF:
            return OPEN_GRANT
        if auth_data.url != self.url and auth_data.url.rstrip("/") != self.url:
            raise AuthenticationFailed("it is signed for another worker's url")
        if self.mode is Mode.TICKET:
            return self._check_ticket(auth_data, now_s)
        return self._check_signature(auth_data)

    def spend(self, grant: Grant, now_s: float) -> None:
        """Use a grant up. Raises TicketOvertaken when another request was quicker."""
        if grant.nonce is not None:
            self._spent.add(grant.nonce, grant.expires_s + LEEWAY_S, now_s + self.clock.offset_s)
        elif grant.message is not None:
            if grant.message in self._seen_messages:
                raise TicketOvertaken()
            self._seen_messages.append(grant.message)
            self._highest_reqnum = max(self._highest_reqnum, grant.reqnum)

    def give_back(self, grant: Grant) -> None:
        """The request was refused after all (it waited too long): its ticket is good again."""
        if grant.nonce is not None:
            self._spent.forget(grant.nonce)
        elif grant.message is not None and grant.message in self._seen_messages:
            self._seen_messages.remove(grant.message)

    # --- tickets ---

    def _check_ticket(self, auth_data: AuthData, now_s: float) -> Grant:
        ticket = read_ticket(auth_data.signature, auth_data, self._keys)
        engine_now_s, started_s = now_s + self.clock.offset_s, self._started_s + self.clock.offset_s
        too_old = ticket.issued_s < started_s or engine_now_s > ticket.expires_s + LEEWAY_S
        if too_old or ticket.issued_s > engine_now_s + LEEWAY_S or ticket.nonce in self._spent:
            raise TicketOvertaken()
        return Grant(nonce=ticket.nonce, expires_s=ticket.expires_s)

    # --- RSA ---

    def _check_signature(self, auth_data: AuthData) -> Grant:
        if (auth_data.signature, auth_data.url) in self._verified:  # scheme 4, seen before: the common case
            return OPEN_GRANT
        if self.public_key is None:
            raise NotReady("the engine's public key is not known yet", retry_after_s=2.0)
        for scheme in SCHEMES:
            message = rsa_message(scheme, auth_data)
            if self._holds(auth_data.signature, auth_data.url if scheme == 4 else message, message):
                return OPEN_GRANT if scheme == 4 else self._check_order(message, auth_data.reqnum)
        raise AuthenticationFailed("no signature scheme holds")

    def _holds(self, signature: str, name: str | bytes, message: bytes) -> bool:
        if (signature, name) in self._verified:
            return True
        if self.public_key is None or not verify_rsa(self.public_key, signature, message):
            return False
        self._verified[signature, name] = True
        if len(self._verified) > _VERIFIED_REMEMBERED:
            self._verified.popitem(last=False)
        return True

    def _check_order(self, message: bytes, reqnum: int) -> Grant:
        """Schemes 1 and 3 sign a running number: an exact repeat or one far behind is overtaken."""
        if message in self._seen_messages or reqnum < self._highest_reqnum - REQNUM_WINDOW:
            raise TicketOvertaken()
        return Grant(message=message, reqnum=reqnum)

    def trust(self, key: rsa.RSAPublicKey) -> None:
        """Check signatures with this key from now on; what an older one signed is verified anew."""
        self.public_key = key
        self._verified.clear()


class _SpentNonces:
    """Nonces until they cannot be used any more; in order of spending, which is nearly the order of expiry."""

    def __init__(self, bound: int) -> None:
        self._expiry_s: OrderedDict[bytes, float] = OrderedDict()
        self._bound = bound

    def __contains__(self, nonce: bytes) -> bool:
        return nonce in self._expiry_s

    def add(self, nonce: bytes, expires_s: float, now_s: float) -> None:
        """Raises TicketOvertaken when it is there already, NotReady when there is no room (these are real tickets)."""
        if nonce in self._expiry_s:
            raise TicketOvertaken()
        while self._expiry_s and next(iter(self._expiry_s.values())) < now_s:
            self._expiry_s.popitem(last=False)
        if len(self._expiry_s) >= self._bound:
            raise NotReady("too many tickets were spent in the last minute", retry_after_s=10.0)
        self._expiry_s[nonce] = expires_s

    def forget(self, nonce: bytes) -> None:
        """Take it out."""
        self._expiry_s.pop(nonce, None)
