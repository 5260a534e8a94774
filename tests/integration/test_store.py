"""The store on bad days: killed, a full disk, two engines, a damaged file; on real files and with real processes."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyworker.engine.store.failures import explained
from pyworker.engine.store.lock import locked
from pyworker.engine.store.store import Store
from pyworker.engine.store.thread import StoreThread
from pyworker.errors import (
    BadRequest,
    SecretsExposed,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreInUse,
    StoreNotWritable,
)
from tests.support.commands import ROOT
from tests.support.disks import a_small_disk, fill
from tests.support.stores import a_worker, change, endpoint_row, everything, key_row, lines, mode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store.open(path)
    yield store
    store.close()


def python(*arguments: str) -> subprocess.Popen[str]:
    """A process of its own, to be written to and read from."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], stdin=pipe, stdout=pipe, text=True, cwd=ROOT)  # noqa: S603


# --- killed ---------------------------------------------------------------------------------------


def test_killed_while_it_writes_it_loses_nothing_and_repeats_no_number(path: Path) -> None:
    workers: dict[int, int] = {}
    gone: set[int] = set()
    highest = 0
    for lines_before_death in (1, 7, 30, 31, 64):
        for what, first, *second in said_before_killed(path, lines_before_death):
            if what == "numbers":
                assert first > highest
                highest = second[0] - 1
            elif what == "worker":
                workers[first] = second[0]
            else:
                gone.add(first)
        store = Store.open(path)
        stored = {worker.id: worker.version for worker in store.workers()}
        assert store.reserve("request_idx", 1).start > highest
        store.close()
        assert not gone & stored.keys()
        removed = workers.keys() - gone - stored.keys()
        assert len(removed) <= 1  # the last thing it did, not told any more
        gone |= removed
        assert all(stored[number] >= workers[number] for number in workers.keys() - gone)


def said_before_killed(path: Path, count: int) -> list[tuple[str, int, *tuple[int, ...]]]:
    """What a process told before it was killed, some of it while it was."""
    with python("-m", "tests.support.store_writer", str(path)) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(count)]
        process.kill()
        said += process.stdout.readlines()
    found: list[tuple[str, int, *tuple[int, ...]]] = []
    for line in said:
        if line.endswith("\n"):
            what, first, *others = line.split()
            found.append((what, int(first), *map(int, others)))
    return found


# --- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with a_small_disk(tmp_path) as disk:
        yield disk


def test_a_full_disk_is_an_error_that_says_so_and_afterwards_the_store_works_again(small_disk: Path) -> None:
    store = Store.open(small_disk / "engine.db")
    endpoint = store.add_endpoint(endpoint_row())
    block = store.reserve("reqnum", 10)
    ballast = fill(small_disk)
    written = 0
    with pytest.raises(StoreFull, match="make room"):  # noqa: PT012 - what fits into the journal still is stored
        while True:
            store.add_log_lines(lines(endpoint, "x" * 1000))
            written += 1
    with pytest.raises(StoreFull):
        store.add_log_lines(lines(endpoint, *["x" * 1000] * 50))
    assert len(store.log_lines(endpoint.id, "info0")) == written
    ballast.unlink()
    store.add_log_lines(lines(endpoint, "there is room"))
    assert store.reserve("reqnum", 1).start == block.stop
    before = everything(store)
    store.close()
    store = Store.open(small_disk / "engine.db")
    assert everything(store) == before
    assert store.log_lines(endpoint.id, "info0")[-1].text == "there is room"
    store.close()


def test_a_start_on_a_full_disk_fails_and_works_once_there_is_room(small_disk: Path) -> None:
    ballast = fill(small_disk)
    with pytest.raises(StoreFull, match="make room"):
        Store.open(small_disk / "engine.db")
    ballast.unlink()
    store = Store.open(small_disk / "engine.db")
    assert a_worker(store).id == 1
    store.close()


def test_a_backup_onto_a_full_disk_leaves_nothing_there(small_disk: Path, store: Store) -> None:
    fill(small_disk)
    with pytest.raises(StoreFull):
        store.backup(small_disk / "backup")
    assert [file.name for file in small_disk.iterdir()] == ["ballast"]


LIMITED = """
import resource, sys
from pyworker.engine.store.store import Store
from pyworker.errors import StoreError
from tests.support.stores import endpoint_row, lines
store = Store.open(sys.argv[1])
endpoint = store.add_endpoint(endpoint_row())
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, most))
try:
    while True:
        store.add_log_lines(lines(endpoint, "x" * 1000))
except StoreError as error:
    sys.stdout.write(f"{error}\\n")
before = len(store.log_lines(endpoint.id, "info0"))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
store.add_log_lines(lines(endpoint, "there is room"))
assert len(store.log_lines(endpoint.id, "info0")) == before + 1
store.close()
sys.stdout.write("works again\\n")
"""


def test_a_file_that_may_not_grow_is_an_error_and_afterwards_the_store_works_again(path: Path) -> None:
    with python("-c", LIMITED, str(path)) as process:
        out, _ = process.communicate()
    first, second = out.splitlines()
    assert "the file limit" in first
    assert str(path) in first
    assert (second, process.returncode) == ("works again", 0)


# --- two engines ----------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from pyworker.engine.store.failures import explained
from pyworker.engine.store.lock import locked
with locked(Path(sys.argv[1])):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


def test_a_second_engine_is_told_who_has_the_directory_until_that_one_is_gone(tmp_path: Path) -> None:
    lock = tmp_path / "engine.lock"
    with python("-c", HOLD, str(lock)) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(StoreInUse, match=rf"process {first.pid} on .*--data-dir"), locked(lock):
            pass
        first.kill()
        first.wait()
    with locked(lock):
        assert mode(lock) == 0o600
    with locked(lock):
        pass


HOLD_FILE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("BEGIN EXCLUSIVE")
sys.stdout.write("held\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def test_another_program_that_holds_the_file_is_waited_for_and_then_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyworker.engine.store.database.BUSY_S", 0.05)
    store = Store.open(path)
    with python("-c", HOLD_FILE, str(path)) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreBusy, match="sqlite3 shell"):
            store.reserve("a", 1)
        assert store.endpoints() == []
        other.communicate()
    assert store.reserve("a", 1) == range(1, 2)
    store.close()


# --- backups --------------------------------------------------------------------------------------


def test_a_backup_while_the_store_is_written_is_of_one_moment(store: Store, tmp_path: Path) -> None:
    """Each number is reserved before the key of its name is added: of one moment are all keys up to the last number."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            store.add_account_key(key_row(f"key {store.reserve('a', 1).start}"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(8):
            before = len(store.account_keys())
            store.backup(tmp_path / f"backup {number}")
            after = len(store.account_keys())
            copy = Store.open(tmp_path / f"backup {number}")
            names = [key.name for key in copy.account_keys()]
            assert names == [f"key {number}" for number in range(1, len(names) + 1)]
            assert before <= len(names) <= after
            assert copy.reserve("a", 1).start - 1 - len(names) in {0, 1}
            copy.close()
    finally:
        stop.set()
        writer.join()


def test_a_backup_is_one_private_file_and_overwrites_nothing(store: Store, tmp_path: Path) -> None:
    a_worker(store)
    target = tmp_path / "copies" / "backup.db"
    target.parent.mkdir()
    store.backup(target)
    assert [file.name for file in target.parent.iterdir()] == ["backup.db"]
    assert mode(target) == 0o600
    with pytest.raises(StoreError, match="there already"):
        store.backup(target)
    copy = Store.open(target)
    assert everything(copy) == everything(store)
    copy.close()


def test_a_backup_into_a_folder_that_is_not_there_is_an_error_that_names_it(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        store.backup(tmp_path / "nowhere" / "backup.db")


# --- files that are not as they should be ---------------------------------------------------------


def test_only_the_engines_user_may_read_the_store(path: Path) -> None:
    store = Store.open(path)
    a_worker(store)
    assert {mode(file) for file in path.parent.glob("engine.db*")} == {0o600}
    store.close()
    path.chmod(0o640)
    with pytest.raises(SecretsExposed, match=f"chmod 600 {path}"):
        Store.open(path)


@pytest.mark.parametrize("place", ["header", "middle", "end"])
def test_a_damaged_file_is_refused_and_left_as_it_is(path: Path, place: str) -> None:
    store = Store.open(path)
    endpoint = store.add_endpoint(endpoint_row())
    store.add_log_lines(lines(endpoint, *["x" * 1000] * 500))
    store.close()
    whole = path.read_bytes()
    half = len(whole) // 2
    damaged = {
        "header": b"not a database at all" + whole[21:],
        "middle": whole[:half] + b"\xa5" * 8192 + whole[half + 8192 :],
        "end": whole[:half],
    }[place]
    path.write_bytes(damaged)
    with pytest.raises(StoreDamaged, match="put a backup in its place"):
        Store.open(path)
    assert path.read_bytes() == damaged


def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    change(path, "CREATE TABLE theirs (a)")
    path.chmod(0o600)
    with pytest.raises(StoreError, match="another program"):
        Store.open(path)


def test_a_row_that_cannot_be_read_is_named(path: Path, store: Store) -> None:
    a_worker(store)
    change(path, """UPDATE endpoints SET parameters = '{"min_load": 1, "of_a_later_version": 2}'""")
    with pytest.raises(StoreDamaged, match=r"EndpointRow 1 .*of_a_later_version.*newer pyworker"):
        store.endpoints()


@pytest.mark.parametrize("wrong", ["a folder", "under a file"])
def test_a_path_that_cannot_be_a_store_is_an_error_that_names_it(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file").write_text("")
    path = {"a folder": tmp_path / "folder", "under a file": tmp_path / "file" / "engine.db"}[wrong]
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(StoreError, match=str(path)):
        Store.open(path)


def test_a_store_that_may_not_be_written_says_so(small_disk: Path) -> None:
    Store.open(small_disk / "engine.db").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)  # noqa: S603, S607 - our own
    with pytest.raises(StoreNotWritable, match="this user's"):
        Store.open(small_disk / "engine.db")
    with pytest.raises(StoreNotWritable, match="this user's"), locked(small_disk / "engine.lock"):
        pass


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EROFS, StoreNotWritable), (errno.EIO, StoreError)],
)
def test_what_a_file_system_says_becomes_an_error_that_names_the_file(
    path: Path, number: int, kind: type[StoreError]
) -> None:
    with pytest.raises(kind, match=str(path)) as raised, explained(path):
        raise OSError(number, os.strerror(number))
    assert type(raised.value) is kind


# --- off the event loop ---------------------------------------------------------------------------


async def test_calls_are_made_in_their_order_and_an_error_comes_back(store: Store) -> None:
    thread = StoreThread()
    endpoint = await thread.run(store.add_endpoint, endpoint_row())
    await asyncio.gather(*(thread.run(store.add_log_lines, lines(endpoint, str(number))) for number in range(50)))
    kept = await thread.run(store.log_lines, endpoint.id, "info0")
    assert [line.text for line in kept] == [str(number) for number in range(50)]
    with pytest.raises(BadRequest):
        await thread.run(store.add_endpoint, endpoint_row())
    await thread.close()
