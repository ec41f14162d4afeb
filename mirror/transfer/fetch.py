"""One file from upstream to staging: fetched, resumed as often as it takes, verified. It comes out right, or as an error."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp

from mirror.errors import RequestFailed, TransferError
from mirror.events import Chunk, Emit, FileKey, Restarted, Retrying, TransferStarted, Verified
from mirror.model import RemoteFile
from mirror.steps import step
from mirror.transfer.judge import Again, judge, judge_hashes, judge_head, judge_length
from mirror.transfer.receive import BATCH, Hashes, Lane, Receiver, hash_bytes, hash_file, write_small
from mirror.transfer.room import Room
from mirror.transfer.sidecar import Sidecar, drop_sidecar, load_sidecar, save_sidecar
from mirror.upstream.answer import describe
from mirror.upstream.session import Session, backoff

T = TypeVar("T")

_MOST_FRUITLESS = 6
"""Attempts in a row that come no further than one before them until a file is given up for this run. Others are not counted."""

_MOST_MISMATCHES = 3
"""Complete downloads whose length or hash is wrong before upstream is taken to be wrong."""

_LEAST_GAIN = 512
"""Bytes by which an attempt must come further to be no fruitless one: a server that cuts after each byte would hold us for ever."""

_CRAWL = 64
"""The part of `min_speed` below which an attempt is fruitless, whatever it brought."""

_BATCH_SECONDS = 0.25  # a slow transfer hands on what it has this often


@dataclass(frozen=True, slots=True)
class Staged:
    """A verified file in staging. `resumed` bytes of it were here before this run."""

    path: Path
    hashes: Hashes
    resumed: int


@dataclass(slots=True)
class _Progress:
    """What an unfinished transfer has lived through."""

    attempts: int = 0
    fruitless: int = 0
    mismatches: int = 0
    furthest: int = 0
    resumed: int = 0
    validator: str | None = None


class Fetcher:
    """Transfers of one worker, one after the other."""

    def __init__(self, session: Session, lane: Lane, emit: Emit) -> None:
        self._session = session
        self._lane = lane
        self._emit = emit

    async def fetch(self, file: RemoteFile, key: FileKey, part: Path, ready: Path) -> Staged:
        """Bring `file` to `ready`, verified; `part` is where its partial bytes are kept on the way.

        Interrupted, it leaves in `part` what it has, with a sidecar. Disk errors come out as OSError.

        Raises:
            TransferError: it is not to be had in this run.
        """
        staged = await self._already_staged(file, part, ready)
        if staged is not None:
            self._emit(Verified(key, staged.hashes.size, staged.resumed))
            return staged
        progress = _Progress()

        def save(offset: int) -> None:
            save_sidecar(part, Sidecar(file.url, file.size, file.md5, progress.validator, offset))

        receiver = Receiver(part, self._lane, save, lambda: drop_sidecar(part))
        try:
            await self._begin(file, part, receiver, progress)
            self._emit(TransferStarted(key, file.size, receiver.size))
            step("transfer: begun")
            while True:
                progress.attempts += 1
                try:
                    hashes = await self._attempt(file, key, part, ready, receiver, progress)
                except Again as again:
                    await self._prepare_next(again, file, key, receiver, progress)
                else:
                    self._emit(Verified(key, hashes.size, progress.resumed))
                    return Staged(ready, hashes, progress.resumed)
        except RequestFailed as error:
            raise self._given_up(str(error), progress, retry=error.status in (404, None)) from error
        finally:
            if receiver.begun:
                await asyncio.shield(receiver.leave())

    async def _already_staged(self, file: RemoteFile, part: Path, ready: Path) -> Staged | None:
        """A killed run may have left the file complete. It counts only if hashing it again says so."""
        size = _size(ready)
        if file.md5 is None or size is None or file.size not in (None, size):
            return None
        hashes = await self._in_thread(hash_file, ready, self._lane.closing)
        if hashes.md5 != file.md5:
            return None
        await self._in_thread(drop_sidecar, part)
        return Staged(ready, hashes, hashes.size)

    async def _begin(self, file: RemoteFile, part: Path, receiver: Receiver, progress: _Progress) -> None:
        if _size(part) is None:
            return
        sidecar = await self._in_thread(load_sidecar, part)
        if sidecar is not None and sidecar.continues(file) and (file.size is None or sidecar.offset <= file.size):
            await receiver.begin(sidecar.offset)
            progress.validator = sidecar.validator
            progress.furthest = progress.resumed = receiver.size
        else:
            await self._in_thread(_drop_part, part)

    async def _attempt(
        self, file: RemoteFile, key: FileKey, part: Path, ready: Path, receiver: Receiver, progress: _Progress
    ) -> Hashes:
        if file.size is not None and receiver.size == file.size > 0:
            return await self._complete(file, part, ready, receiver)
        # Bytes as they are: a packed body would have neither the listed length nor the listed MD5.
        headers = {"Accept-Encoding": "identity"}
        if receiver.size:
            headers["Range"] = f"bytes={receiver.size}-"
            if progress.validator:
                headers["If-Range"] = progress.validator
        try:
            async with self._session.open(file.url, headers) as response:
                verdict = judge(response, file, receiver.size, progress.validator)
                if verdict.begins and receiver.size:
                    # The server does not do ranges, or If-Range found another file.
                    await self._restart(key, receiver, progress, "the whole file came where the rest was asked for")
                progress.validator, total = verdict.validator, verdict.total
                if progress.validator and self._session.secret.holds(progress.validator):
                    progress.validator = None  # it would stand in the sidecar
                whole = await self._receive(response, file, key, receiver, total)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Again(describe(error)) from None  # its own text may have the address, with the key
        if whole is not None:
            place = part if receiver.begun else None
            return await asyncio.get_running_loop().run_in_executor(
                self._lane.small, _place_small, self._lane.room, file, place, ready, whole
            )
        if total is not None and receiver.size < total:
            raise Again("the connection was cut")
        judge_length(receiver.size, total)
        return await self._complete(file, part, ready, receiver)

    async def _receive(
        self, response: aiohttp.ClientResponse, file: RemoteFile, key: FileKey, receiver: Receiver, total: int | None
    ) -> bytes | None:
        """Take the body in: on to `receiver`, or returned if it is a whole file that came in one batch and touched no disk yet."""
        content, patience = response.content, self._session.patience
        chunks: list[bytes] = []
        size = measured = 0
        handed_on = measured_from = time.monotonic()
        clock, longest_silence = asyncio.get_running_loop().time, 2 * patience.idle
        # The transport hears of silence; this is for a server that goes on talking and never comes to the body.
        async with asyncio.timeout(longest_silence) as silence:
            try:
                while chunk := await content.readany():
                    if not receiver.size and not size:
                        judge_head(file, chunk)
                    chunks.append(chunk)
                    size += len(chunk)
                    now = time.monotonic()
                    if size < BATCH and now - handed_on < _BATCH_SECONDS:
                        continue
                    silence.reschedule(None)
                    measured += size
                    batch, count, chunks, size = chunks, size, [], 0
                    await self._hand_on(batch, count, key, receiver)
                    await self._session.spend(count)
                    judge_length(receiver.size, total)
                    handed_on = time.monotonic()
                    measured_from += handed_on - now  # what the disk or our own limit took is not the server's slowness
                    if (passed := handed_on - measured_from) >= patience.slow_for:
                        # Some connections stay at 0.25 MB/s for life while others get 20 MB/s [C]: a new one may be better.
                        if measured < patience.min_speed * passed:
                            crawling = measured < patience.min_speed * passed / _CRAWL
                            raise Again(f"slower than {patience.min_speed / 1000:g} kB/s for {passed:.0f} s", crawling=crawling)
                        measured, measured_from = 0, handed_on
                    silence.reschedule(clock() + longest_silence)
                silence.reschedule(None)
                if not receiver.size and total in (None, size):
                    whole, chunks = b"".join(chunks), []
                    self._emit(Chunk(key, size))
                    await self._session.spend(size)
                    return whole
            finally:
                if not silence.expired():
                    silence.reschedule(None)
                if chunks:
                    # Also when interrupted or cut: these bytes are here, and need not be fetched again.
                    await self._hand_on(chunks, size, key, receiver)
        await self._session.spend(size)
        return None

    async def _hand_on(self, chunks: list[bytes], size: int, key: FileKey, receiver: Receiver) -> None:
        if not receiver.begun:
            await receiver.discard()
        await receiver.take(chunks, size)
        self._emit(Chunk(key, size))

    async def _complete(self, file: RemoteFile, part: Path, ready: Path, receiver: Receiver) -> Hashes:
        """All bytes are here: verify, bring them to the disk, and move them to where verified files wait."""
        hashes = await receiver.hashes()
        judge_hashes(file, hashes)
        await receiver.flush()
        await self._in_thread(_place, part, ready)
        return hashes

    async def _prepare_next(self, again: Again, file: RemoteFile, key: FileKey, receiver: Receiver, progress: _Progress) -> None:
        reason = self._session.secret.tell(str(again))
        grown = receiver.size >= progress.furthest + _LEAST_GAIN and not (again.from_zero or again.crawling)
        progress.furthest = max(progress.furthest, receiver.size)
        progress.fruitless = 0 if grown else progress.fruitless + 1
        if again.mismatch and not (again.from_zero and progress.resumed):
            # Where bytes of an earlier run are part of it, they may be at fault: that does not count against upstream.
            progress.mismatches += 1
        # What neither an MD5 nor a validator vouches for cannot be continued: the rest might be of another file.
        if again.from_zero or (receiver.size and file.md5 is None and progress.validator is None):
            await self._restart(key, receiver, progress, reason)
        if progress.mismatches >= _MOST_MISMATCHES:
            raise self._given_up(f"upstream is wrong: {reason}", progress, retry=False, wrong=True)
        if progress.fruitless >= _MOST_FRUITLESS:
            raise self._given_up(reason, progress, retry=True)
        if again.mismatch and again.from_zero:
            progress.furthest = 0  # the whole way is gone once more; how often is counted by itself
        wait = backoff(max(1, progress.fruitless), self._session.patience, self._session.rng)
        self._emit(Retrying(key.upstream, str(key), reason, progress.attempts, wait))
        await asyncio.sleep(wait)

    async def _restart(self, key: FileKey, receiver: Receiver, progress: _Progress, reason: str) -> None:
        await receiver.discard()
        progress.resumed = 0
        progress.validator = None
        self._emit(Restarted(key, reason))

    def _given_up(self, reason: str, progress: _Progress, *, retry: bool, wrong: bool = False) -> TransferError:
        return TransferError(self._session.secret.tell(reason), attempts=max(1, progress.attempts), retry=retry, wrong=wrong)

    async def _in_thread(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._lane.disk, call, *args)


def _size(path: Path) -> int | None:
    """Size in bytes of a regular file, None where there is none. One lstat, which is not worth a thread."""
    try:
        stats = os.lstat(path)
    except OSError:
        return None
    return stats.st_size if stat.S_ISREG(stats.st_mode) else None


def _place(part: Path, ready: Path) -> None:
    ready.parent.mkdir(parents=True, exist_ok=True)
    step("part: complete")
    os.rename(part, ready)
    step("part: ready")
    drop_sidecar(part)
    step("part: sidecar dropped")


def _place_small(room: Room, file: RemoteFile, part: Path | None, ready: Path, data: bytes) -> Hashes:
    """Verify and write a file in one go; `part` is where a beginning of it is, if there is one."""
    hashes = hash_bytes(data)
    judge_hashes(file, hashes)
    room.take(len(data))
    try:
        write_small(ready, data)
    except FileNotFoundError:
        ready.parent.mkdir(parents=True, exist_ok=True)
        write_small(ready, data)
    step("small file: written")
    if part is not None:
        _drop_part(part)
    return hashes


def _drop_part(part: Path) -> None:
    """The sidecar goes first: it must never stand beside bytes that are not its own."""
    drop_sidecar(part)
    part.unlink(missing_ok=True)
