"""An engine's secrets stay the same, stay private, and change only when asked; a backup is a data directory."""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pyworker.engine.core.certificates import Authority
from pyworker.engine.core.derived import generation_of
from pyworker.engine.data_directory import back_up, data_directory
from pyworker.engine.identity import Identity, Kind
from pyworker.engine.private_files import write_private
from pyworker.errors import BadRequest, SecretsExposed, StoreDamaged, StoreError, StoreInUse
from tests.support.stores import a_worker, everything, mode

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
FILES = ["ca-key.pem", "ca.pem", "endpoint.secret", "engine-id", "rsa-1.pem", "ticket-1.secret"]


def all_of(identity: Identity) -> object:
    """What would change for others if it were not the same."""
    return (
        {number: key.private_numbers() for number, key in identity.rsa_keys.items()},
        identity.ticket_secrets,
        identity.endpoint_key(1, 1),
        identity.authority.root_pem,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def secrets(folder: Path) -> Path:
    """The secrets of an engine that has run once."""
    with data_directory(folder, NOW):
        return folder / "secrets"


# --- the first start and the next -----------------------------------------------------------------


def test_secrets_are_made_at_the_first_start_and_are_the_same_at_the_next(folder: Path) -> None:
    with data_directory(folder, NOW) as first:
        before, engine_id = all_of(first.identity), first.store.engine_id
        key_id = first.identity.new_key_id()
        keys = first.identity.ticket_key(key_id), first.identity.mtoken(key_id)
    with data_directory(folder, NOW + datetime.timedelta(days=500)) as second:
        assert (all_of(second.identity), second.store.engine_id) == (before, engine_id)
        assert (second.identity.ticket_key(key_id), second.identity.mtoken(key_id)) == keys


def test_only_the_engines_user_may_read_them_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        with data_directory(folder, NOW):
            pass
    finally:
        os.umask(before)
    assert [mode(folder), mode(folder / "secrets")] == [0o700, 0o700]
    assert {path.name: mode(path) for path in (folder / "secrets").iterdir()} == dict.fromkeys(FILES, 0o600)
    assert {mode(path) for path in folder.iterdir() if path.is_file()} == {0o600}


@pytest.mark.parametrize("name", FILES)
def test_a_secret_that_others_may_read_is_refused_with_the_command_to_type(
    folder: Path, secrets: Path, name: str
) -> None:
    (secrets / name).chmod(0o640)
    with pytest.raises(SecretsExposed, match=f"chmod 600 {secrets / name}"), data_directory(folder, NOW):
        pass
    (secrets / name).chmod(0o600)
    with data_directory(folder, NOW):
        pass


def test_a_folder_that_others_may_enter_is_refused_with_the_command_to_type(folder: Path, secrets: Path) -> None:
    secrets.chmod(0o755)
    with pytest.raises(SecretsExposed, match=f"chmod 700 {secrets}"), data_directory(folder, NOW):
        pass


def test_a_first_start_that_was_broken_off_goes_on_where_it_was(folder: Path, secrets: Path, tmp_path: Path) -> None:
    kept = (secrets / "rsa-1.pem").read_bytes()
    begun = tmp_path / "begun"
    begun.mkdir(mode=0o700)
    write_private(begun / "rsa-1.pem", kept)
    (begun / ".ticket-1.secret.part").write_bytes(b"half")
    Identity.open(begun, "an engine", NOW)
    assert (begun / "rsa-1.pem").read_bytes() == kept
    assert sorted(path.name for path in begun.iterdir()) == FILES
    assert folder != begun


# --- something is missing -------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_secret_that_is_gone_is_not_made_again_in_silence(folder: Path, secrets: Path, name: str) -> None:
    before = (secrets / name).read_bytes()
    (secrets / name).unlink()
    with pytest.raises(StoreError, match="backup"), data_directory(folder, NOW):
        pass
    write_private(secrets / name, before)
    with data_directory(folder, NOW):
        pass


@pytest.mark.parametrize("name", [name for name in FILES if name != "engine-id"])
@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"\xff" * 40])
def test_a_secret_that_cannot_be_used_is_named(folder: Path, secrets: Path, name: str, content: bytes) -> None:
    write_private(secrets / name, content)
    with pytest.raises(StoreDamaged, match=name), data_directory(folder, NOW):
        pass


def test_secrets_of_another_store_are_refused(folder: Path, secrets: Path) -> None:
    """A new store would give the ids of old endpoints, and so their keys, to others."""
    (folder / "engine.db").unlink()
    with pytest.raises(StoreError, match=f"{secrets} are those of another store"), data_directory(folder, NOW):
        pass


# --- generations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "ticket"])
def test_a_new_generation_stands_beside_the_old_one_until_that_is_dropped(folder: Path, kind: Kind) -> None:
    with data_directory(folder, NOW) as data:
        old = dict(data.identity.rsa_keys if kind == "rsa" else data.identity.ticket_secrets)
        assert data.identity.rotate(kind) == 2
    with data_directory(folder, NOW) as data:
        held = data.identity.rsa_keys if kind == "rsa" else data.identity.ticket_secrets
        assert list(held) == [1, 2]
        assert data.identity.rotate(kind) == 3
        assert data.identity.drop_old(kind) == [1, 2]
        assert data.identity.drop_old(kind) == []
    with data_directory(folder, NOW) as data:
        held = data.identity.rsa_keys if kind == "rsa" else data.identity.ticket_secrets
        assert list(held) == [3]
        assert data.identity.rotate(kind) == 4
        assert old.keys() == {1}


def test_a_workers_keys_outlive_a_rotation_and_end_with_their_generation(folder: Path) -> None:
    with data_directory(folder, NOW) as data:
        identity = data.identity
        key_id = identity.new_key_id()
        keys = identity.ticket_key(key_id), identity.mtoken(key_id)
        identity.rotate("ticket")
        assert (identity.ticket_key(key_id), identity.mtoken(key_id)) == keys
        assert generation_of(identity.new_key_id()) == 2
        identity.drop_old("ticket")
        assert (identity.ticket_key(key_id), identity.mtoken(key_id)) == (None, None)


def test_the_newest_rsa_key_comes_last(folder: Path) -> None:
    with data_directory(folder, NOW) as data:
        data.identity.rotate("rsa")
        assert list(data.identity.rsa_keys.values())[-1] is data.identity.rsa_key


# --- one engine, and its backup -------------------------------------------------------------------


def test_a_directory_belongs_to_one_engine_at_a_time(folder: Path) -> None:
    with (
        data_directory(folder, NOW),
        pytest.raises(StoreInUse, match=f"process {os.getpid()}"),
        data_directory(folder, NOW),
    ):
        pass
    with data_directory(folder, NOW):
        pass


def test_a_backup_of_an_engine_that_runs_is_a_data_directory(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "backups" / "monday"
    with data_directory(folder, NOW) as data:
        a_worker(data.store)
        data.identity.rotate("ticket")
        back_up(folder, target)
        before = everything(data.store), all_of(data.identity)
    assert [mode(target), mode(target / "secrets"), mode(target / "secrets" / "ca-key.pem")] == [0o700, 0o700, 0o600]
    assert [path.name for path in target.parent.iterdir()] == ["monday"]
    shutil.copytree(target, tmp_path / "restored")
    with data_directory(tmp_path / "restored", NOW) as data:
        assert (everything(data.store), all_of(data.identity)) == before


def test_a_backup_overwrites_nothing_and_one_that_fails_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "backups" / "monday"
    with pytest.raises(StoreError, match="no store"):
        back_up(folder, target)
    assert list(target.parent.iterdir()) == []
    with data_directory(folder, NOW):
        back_up(folder, target)
    with pytest.raises(BadRequest, match="there already"):
        back_up(folder, target)


# --- the root -------------------------------------------------------------------------------------


def test_a_root_that_was_stored_signs_as_before_and_one_of_another_key_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    root_pem = Authority(key, NOW).root_pem
    assert Authority(key, NOW + datetime.timedelta(days=5), root_pem).root_pem == root_pem
    assert x509.load_pem_x509_certificate(root_pem).public_key() == key.public_key()
    with pytest.raises(ValueError, match="not of this key"):
        Authority(ec.generate_private_key(ec.SECP256R1()), NOW, root_pem)
