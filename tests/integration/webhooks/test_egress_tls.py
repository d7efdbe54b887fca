"""TLS: the original name is asked for and checked, and what goes wrong is a failure of kind `tls`."""

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.webhooks.listener import LATE_MS, OK, QUICK, Listener, Names, answering, egress, listening, post
from worker.webhooks.reply import ReplyKind

pytestmark = pytest.mark.anyio

NAME = "hooks.example"


def certificate(folder: Path, name: str, *, days: int = 1) -> Path:
    """Write a self-signed certificate and its key for a name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}{days}.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + made.public_bytes(pem)
    )
    return path


def server(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def trusting(path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(path))


async def test_the_original_name_is_in_sni_and_host_and_is_what_the_certificate_must_match(tmp_path: Path) -> None:
    path = certificate(tmp_path, NAME)
    asked: list[str | None] = []
    context = server(path)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with (
        listening(answering(OK), tls=context) as receiver,
        egress(resolver=Names(["127.0.0.1"]), tls=trusting(path)) as out,
    ):
        reply = await post(out, f"https://{NAME}:{receiver.port}/hook")

    assert reply.kind is ReplyKind.OK
    assert asked == [NAME]
    assert [request.header("host") for request in receiver.requests] == [f"{NAME}:{receiver.port}"]


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    path = certificate(tmp_path, "other.example")
    async with (
        listening(answering(OK), tls=server(path)) as receiver,
        egress(resolver=Names(["127.0.0.1"]), tls=trusting(path)) as out,
    ):
        reply = await post(out, f"https://{NAME}:{receiver.port}/hook?PRIVATE")

    assert reply.kind is ReplyKind.TLS
    assert "certificate" in reply.detail
    assert "PRIVATE" not in reply.detail
    assert receiver.requests == []


async def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    path = certificate(tmp_path, NAME, days=-1)
    async with (
        listening(answering(OK), tls=server(path)) as receiver,
        egress(resolver=Names(["127.0.0.1"]), tls=trusting(path)) as out,
    ):
        reply = await post(out, f"https://{NAME}:{receiver.port}/hook")

    assert reply.kind is ReplyKind.TLS
    assert "expired" in reply.detail


async def test_a_certificate_nobody_vouches_for_is_refused_by_default(tmp_path: Path) -> None:
    context = server(certificate(tmp_path, NAME))
    async with listening(answering(OK), tls=context) as receiver, egress(resolver=Names(["127.0.0.1"])) as out:
        reply = await post(out, f"https://{NAME}:{receiver.port}/hook")

    assert reply.kind is ReplyKind.TLS
    assert receiver.requests == []


async def test_a_receiver_that_demands_a_client_certificate_is_a_tls_failure(tmp_path: Path) -> None:
    path = certificate(tmp_path, NAME)
    context = server(path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(path)

    async def demanding(_: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The alert must reach the client before the connection goes: asyncio's own server resets it first.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        handshake = context.wrap_bio(incoming, outgoing, server_side=True)
        while received := await reader.read(65536):
            incoming.write(received)
            with contextlib.suppress(ssl.SSLError):
                handshake.do_handshake()
            writer.write(outgoing.read())

    async with (
        listening(demanding) as receiver,
        egress(resolver=Names(["127.0.0.1"]), tls=trusting(path)) as out,
    ):
        reply = await post(out, f"https://{NAME}:{receiver.port}/hook")

    assert (reply.kind, reply.detail) == (ReplyKind.TLS, "tlsv13 alert certificate required")


async def test_https_to_a_plain_http_port_is_a_tls_failure() -> None:
    async def plain(_: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async with listening(plain) as receiver, egress(resolver=Names(["127.0.0.1"])) as out:
        reply = await post(out, f"https://{NAME}:{receiver.port}/hook")

    assert reply.kind is ReplyKind.TLS


async def test_a_handshake_that_hangs_is_a_timeout() -> None:
    async def silent(_: Listener, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with listening(silent) as receiver, egress(limits=QUICK, resolver=Names(["127.0.0.1"])) as out:
        reply = await post(out, f"https://{NAME}:{receiver.port}/hook")

    assert reply.kind is ReplyKind.TIMEOUT
    assert reply.latency_ms < LATE_MS
