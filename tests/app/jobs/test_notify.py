"""Notices: sent through a real mail server, and never a reason for a training to end."""

from __future__ import annotations

import datetime
import email
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import keyring
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from keyring.backend import KeyringBackend
from keyring.errors import KeyringError

from napari_mrgen.app.jobs import notify
from napari_mrgen.app.jobs.notify import OCCASIONS, PASSWORD, SERVICE, Notices
from napari_mrgen.errors import MrgenError

pytestmark = [
    # aiosmtpd does not know that its way is encrypted from the start, or meant to be open.
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # in apprise
]

USER, SECRET = "me@example.org", "s3cret of a user"
Serve = Callable[..., int]


class Inbox:
    """What a mail server does with what it is given."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.recipients: list[list[str]] = []
        self.answer = "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            self.messages.append(email.message_from_bytes(envelope.content, policy=default))
            self.recipients.append(envelope.rcpt_tos)
        return self.answer


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def serve(inbox: Inbox) -> Iterator[Serve]:
    """Start a real server with the inbox; return its port."""
    controllers: list[Controller] = []

    def start(**options: Any) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        controller = Controller(inbox, hostname="127.0.0.1", port=port, **options)
        controller.start()
        controllers.append(controller)
        return port

    yield start
    for controller in controllers:
        controller.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key for this machine, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look into no keyring but the test's own, and wait for no server for long."""
    monkeypatch.delenv(PASSWORD, raising=False)
    monkeypatch.setattr(notify, "PATIENCE_S", 120.0)
    before = keyring.get_keyring()
    keyring.set_keyring(Drawer())
    yield
    keyring.set_keyring(before)


class Drawer(KeyringBackend):
    """A keyring in memory."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class Locked(Drawer):
    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringError("it is locked")


def check_login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and data.password == SECRET.encode()
    return AuthResult(success=is_right and data.login == USER.encode(), handled=False)


def notices(port: int, security: str = "none", **changes: Any) -> Notices:
    mail = {"server": "localhost", "port": port, "security": security, "sender": USER,
            "to": ["you@example.org", "them@example.org"]}  # fmt: skip
    return Notices.read({"email": {**mail, **changes}})


def test_a_mail_arrives_whole(serve: Serve, inbox: Inbox) -> None:
    text = "T1w→T2w: 27.3 dB\nIts folder is /data/ü."
    assert notices(serve()).send("task", "wide finished: größer", text) == ()
    (message,) = inbox.messages
    assert message["Subject"] == "wide finished: größer"
    assert message.get_content().split() == text.split()
    assert inbox.recipients == [["you@example.org", "them@example.org"]]


@pytest.mark.parametrize("way", ["environment", "keyring"])
@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_logged_in_over_an_encrypted_way(
    security: str,
    way: str,
    serve: Serve,
    inbox: Inbox,
    tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    if way == "environment":
        monkeypatch.setenv(PASSWORD, SECRET)
    else:
        keyring.set_password(SERVICE, USER, SECRET)
    safe = {"tls_context": tls, "require_starttls": True}
    options = safe if security == "starttls" else {"ssl_context": tls, "auth_require_tls": False}
    port = serve(authenticator=check_login, auth_required=True, **options)
    assert notices(port, security).send("start", "Jobs have started", "Now.") == ()
    assert len(inbox.messages) == 1


def test_no_password_goes_over_an_open_way(
    serve: Serve, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    port = serve(authenticator=check_login, auth_required=True, auth_require_tls=False)
    (said,) = notices(port).send("start", "a", "b")
    assert "could be sent" in said
    assert not inbox.messages


def test_a_stranger_with_another_certificate_gets_nothing(
    serve: Serve, inbox: Inbox, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    (said,) = notices(serve(tls_context=tls), "starttls").send("start", "a", "b")
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert not inbox.messages


def test_a_wrong_password_is_said_and_not_shown(
    serve: Serve,
    tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv(PASSWORD, "not the right one")
    port = serve(authenticator=check_login, auth_required=True, tls_context=tls)
    (said,) = notices(port, "starttls").send("start", "a", "b")
    assert PASSWORD in said
    assert "not the right one" not in said


@pytest.mark.parametrize("answer", ["550 no such user", "421 too busy", "nonsense"])
def test_a_server_that_refuses_is_a_line(answer: str, serve: Serve, inbox: Inbox) -> None:
    inbox.answer = answer
    (said,) = notices(serve()).send("end", "a", "b")
    assert said.startswith("No e-mail by localhost could be sent: ")
    assert "\n" not in said


def test_no_server_is_a_line() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        (said,) = notices(closed.getsockname()[1]).send("end", "a", "b")
    assert "could be sent" in said


def test_a_server_that_never_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "PATIENCE_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        (said,) = notices(silent.getsockname()[1]).send("end", "a", "b")
    assert time.monotonic() - began < 10
    assert "could be sent" in said


def test_a_locked_keyring_is_no_password(serve: Serve, inbox: Inbox) -> None:
    keyring.set_keyring(Locked())
    assert notify.find_secret(PASSWORD, USER) is None


def test_only_what_is_wanted_is_told(serve: Serve, inbox: Inbox) -> None:
    values = notices(serve()).model_dump()
    few = Notices.read({**values, "on": "failure"})
    for occasion in OCCASIONS:
        assert few.send(occasion, occasion, "") == ()
    assert [message["Subject"] for message in inbox.messages] == ["failure"]


# ---------------------------------------------------------------- apprise


@pytest.fixture
def hook() -> Iterator[tuple[int, list[Any]]]:
    """A service on this machine that takes notices as JSON."""
    taken: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if "nowhere" not in self.path else 500)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port, taken
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("way", ["environment", "keyring"])
def test_apprise_reaches_a_service(
    way: str, hook: tuple[int, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, taken = hook
    address = f"json://127.0.0.1:{port}/jobs"
    if way == "environment":
        monkeypatch.setenv("LAB_CHAT", address)
    else:
        keyring.set_password(SERVICE, "LAB_CHAT", address)
    assert Notices.read({"apprise": "LAB_CHAT"}).send("task", "wide finished", "27.3 dB") == ()
    assert (taken[0]["title"], taken[0]["message"]) == ("wide finished", "27.3 dB")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "neither an environment variable nor in the keyring"),
        ("nonsense", "not an address that apprise knows"),
        ("json://127.0.0.1:PORT/nowhere", "did not take it"),
    ],
)
def test_a_broken_service_is_a_line(
    address: str | None,
    said: str,
    hook: tuple[int, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if address is not None:
        monkeypatch.setenv("LAB_CHAT", address.replace("PORT", str(hook[0])))
    (line,) = Notices.read({"apprise": "LAB_CHAT"}).send("task", "a", "b")
    assert said in line


# ---------------------------------------------------------------- what a file may say


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"email": {"password": "x"}}, PASSWORD),
        ({"email": {"sender_password": "x"}}, PASSWORD),
        ({"token": "x"}, "does not belong in a file"),
        ({"apprise": "slack://a/b/c"}, "holds secrets"),
        ({"apprise": {"slack": "slack://a/b/c"}}, "holds secrets"),
        ({"apprise": 3}, "notify: apprise: "),
        ({"apprise": ["LAB_CHAT", "mailto://u:p@example.org"]}, "holds secrets"),
        ({"mail": {}}, "did you mean 'email'"),
        ({"email": {"servr": "x"}}, "did you mean 'server'"),
        ({"email": {"sender": "a", "to": "b"}}, "email.server"),
        ({"email": {"server": "s", "sender": "a", "to": []}}, "email.to"),
        ({"on": "sometimes"}, "on"),
        ("x", "expected"),
    ],
)
def test_a_file_without_secrets_and_mistakes(values: Any, said: str) -> None:
    with pytest.raises(MrgenError, match=r"^[^\n]*$") as raised:
        Notices.read(values)
    assert said in str(raised.value)
    assert "u:p" not in str(raised.value)
