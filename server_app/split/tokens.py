"""Tokens: who calls, for which run, until when. Signed with a secret that never leaves the state folder."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import SplitError
from common.wire import Refused
from server_app.split.files import replace_file


@dataclass(frozen=True)
class Claims:
    """What a token says; all of it is signed.

    Attributes
    ----------
    expires : seconds since the epoch.
    generation : a client's tokens of an older generation are revoked.
    training : whether the bearer may train, or only infer.
    owner : the common name of the certificate that the bearer must show, where clients have certificates.
    """

    run: str
    client: str
    expires: float
    generation: int
    training: bool
    owner: str


class Mint:
    """Makes and checks tokens; survives a restart of the service.

    Parameters
    ----------
    run : the only run that tokens are good for.
    folder : holds the secret and the generations.
    """

    def __init__(self, run: str, folder: Path) -> None:
        self.run = run
        self._secret = _secret(folder / "secret")
        self._file = folder / "generations.json"
        self._generations: dict[str, int] = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._lock = threading.Lock()

    def mint(self, client: str, ttl_s: float, training: bool = True, owner: str = "") -> str:
        """A token for ``client``, good for ``ttl_s`` seconds or until revoked; '' makes the client its own owner.

        Raises
        ------
        SplitError : no client, or a lifetime that is not a positive number.
        """
        if not client:
            raise SplitError(f"client is {client!r}", "a token needs a client's name")
        if not (math.isfinite(ttl_s) and ttl_s > 0):
            raise SplitError(f"ttl_s is {ttl_s!r}", "give a positive number of seconds")
        generation = self._generations.get(client, 0)
        claims = Claims(self.run, client, time.time() + ttl_s, generation, training, owner or client)
        text = base64.urlsafe_b64encode(json.dumps(asdict(claims)).encode()).decode()
        return f"{text}.{self._sign(text)}"

    def check(self, token: str) -> Claims:
        """Who a token stands for.

        Raises
        ------
        Refused : UNAUTHENTICATED for what is no token of this service, has expired or is revoked;
            PERMISSION_DENIED for one of another run.
        """
        text, _, signature = token.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(text).encode()):
            raise Refused("the token is not one of this service's", "ask for a new one", "UNAUTHENTICATED")
        try:
            claims = Claims(**json.loads(base64.urlsafe_b64decode(text)))
        except (binascii.Error, ValueError, TypeError) as error:
            raise Refused("the token cannot be read", "ask for a new one", "UNAUTHENTICATED") from error
        if claims.run != self.run:
            raise Refused(
                f"the token is for run {claims.run!r}, not {self.run!r}", "ask for a new one", "PERMISSION_DENIED"
            )
        self.recheck(claims)
        return claims

    def recheck(self, claims: Claims) -> None:
        """Refuses claims that were good once.

        Raises
        ------
        Refused : UNAUTHENTICATED, expired or revoked.
        """
        if time.time() >= claims.expires:
            raise Refused("the token has expired", "ask for a new one", "UNAUTHENTICATED")
        if claims.generation != self._generations.get(claims.client, 0):
            raise Refused("the token is revoked: its round is over", "ask for a new one", "UNAUTHENTICATED")

    def revoke(self, client: str) -> None:
        """Ends every token of a client that was minted so far, also after a restart."""
        with self._lock:
            self._generations[client] = self._generations.get(client, 0) + 1
            replace_file(self._file, json.dumps(self._generations).encode())

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


def _secret(path: Path) -> bytes:
    if not path.exists():
        replace_file(path, secrets.token_bytes(32))
    return path.read_bytes()
