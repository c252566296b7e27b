"""Notices that say to a person elsewhere how the jobs ended.

By e-mail, and by whatever apprise reaches (Slack, Telegram, ntfy, ...). Nothing that goes wrong
here harms the work: it is said in a line, and a server that does not answer is left after
`PATIENCE_S`.

Secrets never stand in a file of jobs. A password is looked for in the environment variable
`PASSWORD`, then in the keyring under the service ``napari-mrgen`` and the user's name. An apprise
address holds secrets too, so the file only names the environment variable or entry of the keyring.
"""

from __future__ import annotations

import os
import smtplib
import ssl
import threading
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from napari_mrgen.errors import MrgenError, unknown

PASSWORD = "MRGEN_MAIL_PASSWORD"
SERVICE = "napari-mrgen"
PATIENCE_S = 30.0
"""Longest time for one notice to be handed over."""
_EXTRA = "pip install 'napari-mrgen[notify]'"
_SECRETS = ("password", "secret", "token")

Occasion = Literal["start", "task", "failure", "end"]
OCCASIONS: tuple[Occasion, ...] = ("start", "task", "failure", "end")


def listed(value: Any) -> Any:
    """Return what may be given without a list as one."""
    return [value] if isinstance(value, str | Path) else value


Names = Annotated[tuple[str, ...], BeforeValidator(listed)]


class Mail(BaseModel):
    """How e-mail leaves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: str
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "ssl", "none"] = "starttls"
    """How the way to the server is encrypted; with ``none`` nobody logs in."""
    sender: str
    to: Names = Field(min_length=1)
    user: str | None = None
    """Who logs in; the sender if not given."""


class Notices(BaseModel):
    """Recipients of notices, and the occasions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: Annotated[tuple[Occasion, ...], BeforeValidator(listed)] = OCCASIONS
    email: Mail | None = None
    apprise: Names = ()
    """Names of environment variables, or of entries of the keyring, that hold an address."""

    @classmethod
    def read(cls, values: Any) -> Self:
        """Make it of untrusted values.

        Raises
        ------
        MrgenError
            If they are wrong, or hold a secret.
        """
        _refuse_secrets(values)
        try:
            # YAML reads the word `on` as true.
            return cls.model_validate({"on" if k is True else k: v for k, v in values.items()})
        except ValidationError as error:
            problem = foremost(error)
        where = ".".join(str(part) for part in problem["loc"] if isinstance(part, str))
        if problem["type"] == "extra_forbidden":
            known = Mail.model_fields if len(problem["loc"]) > 1 else cls.model_fields
            raise MrgenError(f"notify: {unknown('key', str(problem['loc'][-1]), known)}")
        msg = f"notify: {where or 'the part'}: {problem['msg'].lower()}."
        raise MrgenError(msg)

    def send(self, occasion: Occasion, title: str, text: str) -> tuple[str, ...]:
        """Send a notice where it is wanted; return what went wrong, never raise."""
        if occasion not in self.on:
            return ()
        ways: list[tuple[str, Callable[[], None]]] = []
        if self.email is not None:
            send = partial(send_mail, self.email, title, text)
            ways.append((f"e-mail by {self.email.server}", send))
        ways += [
            (f"notice by {name}", partial(send_apprise, name, title, text)) for name in self.apprise
        ]
        problems = ((what, _attempt(send)) for what, send in ways)
        return tuple(f"No {what} could be sent: {said}" for what, said in problems if said)


def foremost(error: ValidationError) -> ErrorDetails:
    """Return the problem to be said: a key that is not known first, as it may be a slip."""
    problems = error.errors()
    slips = (problem for problem in problems if problem["type"] == "extra_forbidden")
    return next(slips, problems[0])


def send_mail(mail: Mail, title: str, text: str) -> None:
    """Send one e-mail; raises whatever goes wrong."""
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = title, mail.sender, ", ".join(mail.to)
    message["Date"], message["Message-ID"] = formatdate(localtime=True), make_msgid()
    message.set_content(text)
    secure = ssl.create_default_context()
    user = mail.user or mail.sender
    password = find_secret(PASSWORD, user) if mail.security != "none" else None
    if mail.security == "ssl":
        link: smtplib.SMTP = smtplib.SMTP_SSL(
            mail.server, mail.port, timeout=PATIENCE_S, context=secure
        )
    else:
        link = smtplib.SMTP(mail.server, mail.port, timeout=PATIENCE_S)
    with link:
        if mail.security == "starttls":
            link.starttls(context=secure)
        if password is not None:
            link.login(user, password)
        link.send_message(message)


def send_apprise(name: str, title: str, text: str) -> None:
    """Send one notice to the address that is kept under a name."""
    address = find_secret(name, name)
    if address is None:
        msg = f"{name} is neither an environment variable nor in the keyring ({SERVICE})."
        raise MrgenError(msg)
    try:
        import apprise
    except ImportError:
        raise MrgenError(f"apprise is not installed; {_EXTRA} brings it.") from None
    sender = apprise.Apprise()
    if not sender.add(address):
        raise MrgenError(f"What {name} holds is not an address that apprise knows.")
    if not sender.notify(body=text, title=title):
        raise MrgenError("the service did not take it.")


def find_secret(variable: str, entry: str) -> str | None:
    """Return a secret from the environment, or else from the keyring; None where it is in neither.

    A machine without a keyring, such as a server, has none there.
    """
    if found := os.environ.get(variable):
        return found
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    try:
        return keyring.get_password(SERVICE, entry)
    except KeyringError:
        return None


def _attempt(send: Callable[[], None]) -> str:
    """Send, but for no longer than `PATIENCE_S`; return what went wrong."""
    said: list[str] = []

    def work() -> None:
        try:
            send()
        except Exception as error:  # noqa: BLE001 - no notice is worth a training
            said.append(_explain(error))
        else:
            said.append("")

    # A daemon: a server that sends a byte now and then must not keep the program alive.
    thread = threading.Thread(target=work, name="napari-mrgen-notice", daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return said[0] if said else f"there was no answer in {PATIENCE_S:.0f} s."


def _explain(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"the server refused the login; is {PASSWORD} set, and right?"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _refuse_secrets(values: Any) -> None:
    """Say what to do instead of writing a secret into the file."""
    if not isinstance(values, Mapping):
        raise MrgenError("notify: expected `email:` or `apprise:` lines below it.")
    mail = values.get("email")
    for key in (*values, *(mail if isinstance(mail, Mapping) else ())):
        if any(word in str(key).lower() for word in _SECRETS):
            msg = (
                f"notify: {key} does not belong in a file; take it out, and put the password into "
                f"the environment variable {PASSWORD}, or into the keyring under {SERVICE}."
            )
            raise MrgenError(msg)
    addresses = values.get("apprise") or ()
    for address in addresses if isinstance(addresses, list | tuple) else [addresses]:
        if "://" in str(address):
            msg = (
                "notify: an apprise address holds secrets and does not belong in a file; put it "
                "into an environment variable or the keyring, and give the name of that."
            )
            raise MrgenError(msg)
