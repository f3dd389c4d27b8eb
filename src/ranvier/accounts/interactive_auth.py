"""Interactive authentication: an operation that is only done once its requester went through a flow of stages.

A session belongs to one operation, one user (or nobody) and one set of parameters. What the client sent is kept
sealed with a key that only the session's id yields, as it may hold a password. Sessions are bounded in age and count.

Source: Client-Server API, "User-Interactive Authentication API".
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from ranvier.accounts.credentials import Credentials
from ranvier.accounts.requester import Requester
from ranvier.protocol.refusal import Refusal, bad_json, forbidden
from ranvier.store import accounts, interactive_sessions, registration_tokens, tokens
from ranvier.store.database import Database, Transaction
from ranvier.store.interactive_sessions import InteractiveSession
from ranvier.store.writer import Writer

PASSWORD = "m.login.password"  # noqa: S105 - the name of a stage
DUMMY = "m.login.dummy"
REGISTRATION_TOKEN = "m.login.registration_token"  # noqa: S105 - the name of a stage
TERMS = "m.login.terms"

LIFETIME_MS = 24 * 3600 * 1000
_SESSIONS = 20_000
_TRIM_EVERY = 100
_LARGEST = 64 * 1024
_LONGEST_ID = 255

Flows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class InteractiveRules:
    """`policies` are the documents that new users accept, in the form of `m.login.terms`' parameters.

    For `reuse_ms` after a user proved to be themself with a token, that token is not asked again. Without `passwords`
    nobody can confirm anything with one.
    """

    passwords: bool = True
    policies: Mapping[str, Any] = field(default_factory=dict)
    reuse_ms: int = 0


class AuthenticationNeeded(Refusal):
    """The 401 that says what is still to be done."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("M_UNAUTHORIZED", "Interactive authentication is needed.", status=401)
        self._answer = answer

    def to_json(self) -> dict[str, Any]:
        """Flows, parameters, session, stages done, and what went wrong, if something did."""
        return self._answer


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request of a client: what it wants, the stage that it tries, and its session if it has one.

    `lost` says that it named a session that is unknown, too old, or of other parameters; `rebound`, that the session
    takes over these parameters, as nothing was confirmed for others.
    """

    operation: str
    user_id: str
    parameters: dict[str, Any]
    auth: dict[str, Any] | None
    session_id: str | None
    session: InteractiveSession | None
    lost: bool = False
    rebound: bool = False


@dataclass(frozen=True, slots=True)
class Passed:
    """All stages of a flow are done; `close` must be part of the operation's own transaction.

    `is_kept` says that the session lies in the store.
    """

    session: InteractiveSession
    is_kept: bool

    @property
    def stages(self) -> tuple[str, ...]:
        """What was gone through."""
        return self.session.completed

    async def close(self, transaction: Transaction) -> None:
        """The operation is done: forget the session, and count its registration token as used.

        Refuses if another request with the same session came first: a session serves once.
        """
        was_there = await interactive_sessions.remove(transaction, self.session.hash)
        if self.is_kept and not was_there:
            raise Refusal("M_UNKNOWN", "The session served another request already: begin anew.")
        if self.session.registration_token is not None:
            await registration_tokens.release(transaction, self.session.registration_token, completed=True)


class InteractiveAuth:
    """Leads clients through flows."""

    def __init__(
        self,
        rules: InteractiveRules,
        database: Database,
        writer: Writer,
        credentials: Credentials,
        now: Callable[[], int],
    ) -> None:
        self._rules = rules
        self._database = database
        self._writer = writer
        self._credentials = credentials
        self._now = now
        self._begun = 0

    async def confirm(
        self, requester: Requester, operation: str, body: dict[str, Any], *, always: bool = False
    ) -> dict[str, Any]:
        """Let the requester prove with their password that it is them; answers the operation's parameters.

        Raises `AuthenticationNeeded` until they have. `always` asks even if they did so a moment ago.
        """
        if not always and self._rules.reuse_ms and "auth" not in body:
            confirmed = await tokens.confirmed(self._database, requester.token)
            if confirmed is not None and confirmed > self._now() - self._rules.reuse_ms:
                return body
        account = await accounts.find(self._database, requester.user_id)
        if account is None or account.password_hash is None or not self._rules.passwords:
            raise forbidden(
                "This account has no password here to confirm with; ask the server's administrator."
            )
        attempt = await self.begin(operation, body, requester.user_id)
        passed = await self.require(attempt, [[PASSWORD]])
        now = self._now()

        async def write(transaction: Transaction) -> None:
            await passed.close(transaction)
            if self._rules.reuse_ms:
                await tokens.confirm(transaction, requester.token, now)

        if attempt.session is not None or self._rules.reuse_ms:
            await self._writer.run(write)
        return attempt.parameters

    async def confirm_anybody(
        self, requester: Requester | None, operation: str, body: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Like `confirm`, also for who has lost their token: then the stage tells who they are.

        Answers the user and the operation's parameters.
        """
        if requester is not None:
            return requester.user_id, await self.confirm(requester, operation, body, always=True)
        if not self._rules.passwords:
            raise forbidden("Passwords can't confirm anything on this server.")
        attempt = await self.begin(operation, body)
        passed = await self.require(attempt, [[PASSWORD]])
        if attempt.session is not None:
            await self._writer.run(passed.close)
        return passed.session.user_id, attempt.parameters

    async def begin(self, operation: str, body: dict[str, Any], user_id: str = "") -> Attempt:
        """What the request is a part of. `operation` is method and path; a body with nothing but `auth` stands for
        the parameters that the session began with.
        """
        parameters = {key: value for key, value in body.items() if key != "auth"}
        auth = body.get("auth")
        if auth is not None and not isinstance(auth, dict):
            raise bad_json("'auth' must be an object.")
        session_id = auth.get("session") if auth is not None else None
        if session_id is None:
            return Attempt(operation, user_id, parameters, auth, None, None)
        if not isinstance(session_id, str) or len(session_id) > _LONGEST_ID:
            raise bad_json("'auth.session' must be the string that the server gave.")
        session = await self._find(session_id)
        if session is None:
            return Attempt(operation, user_id, parameters, auth, None, None, lost=True)
        if session.operation != operation or session.user_id != user_id:
            raise forbidden("This session of interactive authentication belongs to another operation.")
        begun = _unseal(session_id, session.parameters)
        if not parameters:
            parameters = begun
        elif parameters != begun:
            if session.completed and begun:
                return Attempt(operation, user_id, parameters, auth, None, None, lost=True)
            session = replace(session, parameters=_seal(session_id, parameters))
            return Attempt(operation, user_id, parameters, auth, session_id, session, rebound=True)
        return Attempt(operation, user_id, parameters, auth, session_id, session)

    async def require(self, attempt: Attempt, flows: Flows) -> Passed:
        """Try the stage that the request brings; raises `AuthenticationNeeded` until a flow is done."""
        session_id, session = attempt.session_id, attempt.session
        if session is None or session_id is None:
            session_id, session = self._make(attempt, flows)
        failure = None
        if attempt.lost:
            failure = Refusal(
                "M_UNKNOWN", "The session is unknown, too old, or of another request: begin anew."
            )
        elif attempt.auth is not None and attempt.auth.get("type") is not None:
            try:
                session = await self._try(session, flows, attempt.auth)
            except Refusal as refusal:
                if refusal.errcode == "M_LIMIT_EXCEEDED" or isinstance(refusal, _AnotherUser):
                    raise
                failure = refusal
        if _is_done(session.completed, flows):
            return Passed(session, attempt.session is not None or session.registration_token is not None)
        if attempt.rebound or session != attempt.session:
            await self._keep(session, new=attempt.session is None)
        raise self._needed(session_id, session, flows, failure)

    async def complete(self, session_id: str, stage: str, fields: dict[str, Any]) -> None:
        """Complete a stage outside of the client, on a page of this server; raises `Refusal` if that fails."""
        session = await self._find(session_id)
        if session is None:
            raise Refusal(
                "M_NOT_FOUND", "This session is unknown or too old. Go back to your client, and begin anew."
            )
        if stage in session.completed:
            return
        tried = await self._try(session, session.flows, {**fields, "type": stage})
        await self._keep(tried, new=False)

    @property
    def policies(self) -> Mapping[str, Any]:
        """The documents that new users accept."""
        return self._rules.policies

    def _make(self, attempt: Attempt, flows: Flows) -> tuple[str, InteractiveSession]:
        session_id = secrets.token_urlsafe(32)
        session = InteractiveSession(
            _hash(session_id),
            attempt.operation,
            attempt.user_id,
            _seal(session_id, attempt.parameters),
            tuple(map(tuple, flows)),
            (),
            None,
            self._now(),
        )
        return session_id, session

    async def _find(self, session_id: str) -> InteractiveSession | None:
        return await interactive_sessions.find(self._database, _hash(session_id), self._now() - LIFETIME_MS)

    async def _keep(self, session: InteractiveSession, *, new: bool) -> None:
        trim = new and self._begun % _TRIM_EVERY == 0
        self._begun += new
        oldest = self._now() - LIFETIME_MS

        async def write(transaction: Transaction) -> None:
            if trim:
                await interactive_sessions.trim(transaction, oldest, _SESSIONS)
            await interactive_sessions.write(transaction, session)

        await self._writer.run(write)

    async def _try(
        self, session: InteractiveSession, flows: Flows, auth: dict[str, Any]
    ) -> InteractiveSession:
        """The session with the stage done; a stage that was done before is not done again."""
        stage = auth["type"]
        if stage in session.completed:
            return session
        done = list(session.completed)
        if not any(
            list(flow[: len(done)]) == done and stage in flow[len(done) : len(done) + 1] for flow in flows
        ):
            raise forbidden("That is not the next stage of any of the flows.")
        if stage == REGISTRATION_TOKEN:
            return await self._reserve(session, auth)
        if stage == PASSWORD:
            session = replace(session, user_id=await self._check_password(session.user_id, auth))
        return replace(session, completed=(*session.completed, stage))

    async def _check_password(self, user_id: str, auth: dict[str, Any]) -> str:
        """The user whose password it is: the session's own, if it has one."""
        password = auth.get("password")
        if not isinstance(password, str):
            raise Refusal("M_MISSING_PARAM", "The stage needs 'password'.")
        named = await self._named(auth, user_id)
        await self._credentials.check(named, password)
        if user_id and named != user_id:
            raise _AnotherUser("M_FORBIDDEN", "You must confirm with your own password.")
        return named

    async def _named(self, auth: dict[str, Any], user_id: str) -> str:
        """Who the stage says to be; the session's own user where it says nothing."""
        identifier = auth.get("identifier")
        if identifier is None and (user_id or "user" in auth):
            # COMPAT(clients before r0.4): the user stands beside the password.
            identifier = {"type": "m.id.user", "user": auth.get("user", user_id)}
        if identifier is None:
            raise Refusal("M_MISSING_PARAM", "The stage needs 'identifier'.")
        if not isinstance(identifier, dict):
            raise bad_json("'auth.identifier' must be an object.")
        return await self._credentials.resolve(identifier)

    async def _reserve(self, session: InteractiveSession, auth: dict[str, Any]) -> InteractiveSession:
        """Take one use of the registration token, in one transaction with the session that holds it."""
        token, now = auth.get("token"), self._now()
        if not isinstance(token, str):
            raise Refusal("M_MISSING_PARAM", "The stage needs 'token'.")
        tried = replace(session, completed=(*session.completed, REGISTRATION_TOKEN), registration_token=token)

        async def write(transaction: Transaction) -> bool:
            current = await interactive_sessions.find(transaction, session.hash, 0)
            if current is not None and current.registration_token is not None:
                return True
            if "\0" in token or not await registration_tokens.reserve(transaction, token, now):
                return False
            await interactive_sessions.write(transaction, tried)
            return True

        if not await self._writer.run(write):
            raise Refusal("M_UNAUTHORIZED", "The registration token is unknown, expired or used up.")
        return tried

    def _needed(
        self, session_id: str, session: InteractiveSession, flows: Flows, failure: Refusal | None
    ) -> AuthenticationNeeded:
        stages = {stage for flow in flows for stage in flow}
        answer: dict[str, Any] = {
            "session": session_id,
            "flows": [{"stages": list(flow)} for flow in flows],
            "params": {TERMS: {"policies": self._rules.policies}} if TERMS in stages else {},
        }
        if session.completed:
            answer["completed"] = list(session.completed)
        if failure is not None:
            answer |= failure.to_json()
        return AuthenticationNeeded(answer)


class _AnotherUser(Refusal):
    """Somebody else confirmed, and rightly: no further try of theirs will do."""


def _is_done(completed: Sequence[str], flows: Flows) -> bool:
    return any(list(flow) == list(completed) for flow in flows)


def _hash(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode()).digest()


def _box(session_id: str) -> SecretBox:
    return SecretBox(hashlib.blake2b(session_id.encode(), digest_size=32, person=b"ranvier uia").digest())


def _seal(session_id: str, parameters: dict[str, Any]) -> bytes:
    plain = orjson.dumps(parameters)
    if len(plain) > _LARGEST:
        raise Refusal("M_TOO_LARGE", f"A request that needs authentication has at most {_LARGEST} bytes.")
    return bytes(_box(session_id).encrypt(plain))


def _unseal(session_id: str, sealed: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = orjson.loads(_box(session_id).decrypt(sealed))
    except CryptoError:
        return {}
    return found
