"""The engine's own certificate authority: a worker with its certificate is believed, and nobody else is."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.support.engines import EngineUnderTest, ReportingWorker, a_fleet, a_folder, an_engine
from tests.support.fleets import rsa_key

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def _csr(key: Key) -> bytes:
    """A request that asks for more than it should get."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "evil.example.com")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=5), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("evil.example.com")]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


async def _sign(engine: EngineUnderTest, mtoken: str | None, worker_id: Any, csr: bytes) -> tuple[int, bytes]:
    headers = {} if mtoken is None else {"Authorization": f"Bearer {mtoken}"}
    url = f"{engine.url}/api/v0/sign_cert/"
    async with engine.http.post(url, params={"instance_id": str(worker_id)}, data=csr, headers=headers) as response:
        return response.status, await response.read()


async def _root(engine: EngineUnderTest) -> str:
    async with engine.http.get(f"{engine.url}/static/jvastai_root.cer") as response:
        return await response.text()


@pytest.mark.parametrize("key", [rsa_key(), ec.generate_private_key(ec.SECP256R1())], ids=["rsa", "ec"])
async def test_nothing_is_taken_from_the_request_but_its_public_key(key: Key) -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        status, pem = await _sign(engine, worker.mtoken, worker.id, _csr(key))
        assert status == 200
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert [str(name.value) for name in names] == ["127.0.0.1"]
        assert not constraints.ca
        assert "evil" not in str(certificate.subject)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((await _root(engine)).encode()))


async def test_a_client_that_trusts_the_root_trusts_the_worker_at_its_address(tmp_path: Path) -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        key = ec.generate_private_key(ec.SECP256R1())
        _, pem = await _sign(engine, worker.mtoken, worker.id, _csr(key))
        chain = tmp_path / "chain.pem"
        chain.write_bytes(pem + _key_pem(key))
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(chain)
        trusting = ssl.create_default_context(cadata=await _root(engine))
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=serving)
        async with server:
            port = server.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            writer.close()
            await writer.wait_closed()
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="evil.example.com")


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


async def test_only_the_worker_itself_gets_its_certificate() -> None:
    async with a_fleet() as (engine, fleet):
        worker, other = await fleet.join(), await fleet.join()
        csr = _csr(rsa_key())
        assert (await _sign(engine, None, worker.id, csr))[0] == 401
        assert (await _sign(engine, "guess", worker.id, csr))[0] == 401
        assert (await _sign(engine, other.mtoken, worker.id, csr))[0] == 401


async def test_an_error_is_never_mistaken_for_a_certificate() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
        for csr in (
            b"",
            b"not a request",
            _csr(weak),
            _csr(rsa_key())[:-60] + b"\n-----END CERTIFICATE REQUEST-----\n",
        ):
            status, body = await _sign(engine, worker.mtoken, worker.id, csr)
            assert status == 400
            assert b"CERTIFICATE-" not in body
        assert (await _sign(engine, worker.mtoken, "seven", _csr(rsa_key())))[0] == 400


async def test_an_address_that_is_not_known_yet_gets_no_certificate_unless_the_token_names_it() -> None:
    async with a_fleet() as (engine, fleet):
        del fleet
        unknown = ReportingWorker(engine, await engine.token(), 1)
        status, answer = await _sign(engine, unknown.mtoken, 1, _csr(rsa_key()))
        assert status == 400
        assert b"not known yet" in answer
        named = ReportingWorker(engine, await engine.token(id=7, url="https://10.0.0.7:3000"), 7)
        assert (await _sign(engine, named.mtoken, 7, _csr(rsa_key())))[0] == 200
        assert (await _sign(engine, named.mtoken, 8, _csr(rsa_key())))[0] == 401


# --- old start scripts send no token ---


async def test_without_a_token_an_instance_gets_one_certificate_at_its_registered_address(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    csr = _csr(rsa_key())
    async with an_engine(folder, sign_without_token=True) as engine:
        token = await engine.token(id=7, url="http://127.0.0.1:3000")
        await engine.token(id=8, url="http://10.0.0.8:3000")
        assert (await _sign(engine, None, 7, b"not a request"))[0] == 400  # which does not count
        status, pem = await _sign(engine, None, 7, csr)
        assert (status, pem.startswith(b"-----BEGIN CERTIFICATE-----")) == (200, True)
        status, told = await _sign(engine, None, 7, csr)
        assert (status, b"has its certificate already" in told) == (401, True)
        for number in (8, 9):  # elsewhere; not known
            status, told = await _sign(engine, None, number, csr)
            assert (status, b"no worker with this id is known at the address" in told) == (401, True)
    async with an_engine(folder, sign_without_token=True) as engine:
        assert (await _sign(engine, None, 7, csr))[0] == 401
        assert (await _sign(engine, token.mtoken, 7, csr))[0] == 200


async def test_that_is_off_unless_it_was_asked_for() -> None:
    async with an_engine() as engine:
        await engine.token(id=7, url="http://127.0.0.1:3000")
        status, told = await _sign(engine, None, 7, _csr(rsa_key()))
        assert (status, b"--sign-without-token" in told) == (401, True)
