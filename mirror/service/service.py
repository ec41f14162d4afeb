"""`inspire-mirror run`, put together: lock, memory, socket, runner, signals, and the word to systemd.

SIGTERM and SIGINT end it within 10 seconds: nothing new begins, transfers are broken off where they are, their partial files stay.
SIGHUP has it read its config again; one that cannot be used is not taken, and the old one stays.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from mirror.amounts import count_text
from mirror.errors import ConfigError, MirrorError
from mirror.events import Emit, Note, fan_out
from mirror.hooks import HookRunner, commands_after
from mirror.service.control import Control
from mirror.service.jobs import Job
from mirror.service.memory import sole_service
from mirror.service.notify import Notify
from mirror.service.outlook import Outlook
from mirror.service.place import socket_to_serve
from mirror.service.pulse import Pulse
from mirror.service.runner import Runner
from mirror.service.timing import share_of_host
from mirror.settings import Settings, warnings
from mirror.sync import Clock, Report, utc_now
from mirror.upstream.session import Patience

_ENDS_WITHIN = 9.0  # seconds after the signal: a thread that reads a slow disk is not waited for any longer
_BEATS = 3  # signs of life to the watchdog within the time that it waits for one
_STATUS_EVERY = 10.0  # seconds, where no watchdog asks for more


@dataclass(frozen=True, slots=True)
class Ended:
    """How the service ended: by which signal, after how many runs."""

    by: signal.Signals
    runs: int

    @property
    def exit_code(self) -> int:
        """Stopped by systemd it has done its work; stopped by Ctrl-C it was interrupted."""
        return 130 if self.by == signal.SIGINT else 0


class Service:
    """One service. `load` reads the config anew."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        emit: Emit,
        *,
        environ: Mapping[str, str] | None = None,
        now: Clock = utc_now,
        clock: Callable[[], float] = time.monotonic,
        patience: Patience | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._load = load
        self._now = now
        self._notify = Notify(environ)
        self._socket = socket_to_serve(settings, environ)
        self._environ = environ
        self._pulse = Pulse(settings.service.stalled_after.total_seconds(), clock)
        self._outlook = Outlook(settings, emit, now=now, clock=clock)
        self._emit = fan_out(self._outlook, emit)
        heard = fan_out(self._pulse, self._emit)  # only a run's own words are its pulse
        self._runner = Runner(settings, heard, now, share=share_of_host(), patience=patience, finish=self._finish)
        self._hooks = HookRunner(lambda: self.settings, self._emit, now)
        self._finishing: set[asyncio.Task[None]] = set()
        self._control = Control(self._runner, self.live)
        seen = self._outlook.observer.service
        seen.waiting = lambda: len(self._runner.waiting)
        seen.next_runs = lambda: {due.name: due.at for due in self._runner.agenda()}
        seen.stalled = lambda: self._pulse.still if self._told_stalled else 0.0
        self._ended_by: signal.Signals | None = None
        self._stop = asyncio.Event()
        self._told_stalled = False

    @property
    def settings(self) -> Settings:
        """Those in effect."""
        return self._runner.settings

    async def run(self) -> Ended:
        """Until a signal ends it.

        Raises:
            ConfigError: it cannot listen where it should.
            Locked: the mirror has a service already.
            GuardRefused: the root cannot be written.
        """
        with sole_service(self.settings.root):
            async with AsyncExitStack() as stack:
                self._heed_signals()
                self._runner.start()
                await stack.enter_async_context(self._control.listening(self._socket))
                await stack.enter_async_context(self._outlook.open())
                self._notify.ready(self.status())
                self._emit(Note(f"the service of {self.settings.root} is up: {self.status()}", "notice"))
                heart = asyncio.create_task(self._beat())
                work = asyncio.create_task(self._runner.run())
                hooks = asyncio.create_task(self._hooks.run_forever())
                stop = asyncio.create_task(self._stopped())
                try:
                    await asyncio.wait({work, stop, heart, hooks}, return_when=asyncio.FIRST_COMPLETED)
                    for task in (work, heart, hooks):
                        if task.done():
                            task.result()  # neither ends by itself: its error comes out
                    self._runner.stop()
                    await work
                finally:
                    ending = [heart, work, hooks, stop, *self._finishing]
                    for task in ending:
                        task.cancel()
                    await asyncio.gather(*ending, return_exceptions=True)
        return Ended(self._ended_by or signal.SIGTERM, self._runner.runs)

    async def _stopped(self) -> None:
        await self._stop.wait()

    # -- signals

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    def _end(self, by: signal.Signals) -> None:
        if self._ended_by is not None:
            os._exit(130)  # whoever asks twice does not want to wait; whatever is written is safe to be cut off
        self._ended_by = signal.Signals(by)
        self._notify.stopping()
        self._emit(Note("stopping: nothing new begins, and what is under way goes on with the next start", "notice"))
        last = threading.Timer(_ENDS_WITHIN, _leave, (130 if by == signal.SIGINT else 0,))
        last.daemon = True
        last.start()
        self._stop.set()

    def reload(self) -> None:
        """Read the config again, and take it if it can be used."""
        self._notify.reloading()
        try:
            fresh = self._load()
            self._check_reload(fresh)
            self._runner.reload(fresh)
            self._hooks.wake()
            self._outlook.configure(fresh)
        except (ConfigError, ValueError, OverflowError) as error:
            for line in str(error).splitlines():
                self._emit(Note(line, "warning"))
            self._emit(Note("the config was not taken; the old one stays in effect", "warning"))
        else:
            for remark in warnings(fresh):
                self._emit(Note(remark, "warning"))
            self._emit(Note(f"the config was read again: {count_text(len(fresh.subscription), 'subscription')}", "notice"))
        self._notify.ready(self.status())

    def _check_reload(self, fresh: Settings) -> None:
        old, fixed = self.settings, []
        if fresh.root != old.root:
            fixed.append(f"root: cannot change from {old.root} to {fresh.root} while the service runs; restart it")
        elif socket_to_serve(fresh, self._environ) != self._socket:
            fixed.append("[service] socket: cannot change while the service runs; restart it")
        if fresh.serve.listen != old.serve.listen:
            fixed.append("[serve] listen: cannot change while the service runs; restart it")
        if fixed:
            raise ConfigError("\n".join(fixed))

    # -- what it tells

    def live(self) -> dict[str, object]:
        """How things stand at this moment, for `status`."""
        current = self._runner.current
        return {
            "pid": os.getpid(),
            "current": None if current is None else {"subscriptions": list(current.names), "origin": current.origin},
            "queue": [list(job.names) for job in self._runner.waiting],
            "live": self._outlook.observer.going_on(),
            "next_runs": {due.name: due.at.isoformat(timespec="seconds") for due in self._runner.agenda()},
        }

    def status(self) -> str:
        """In one line, what it does."""
        if self._runner.current is not None:
            return f"syncing {', '.join(self._runner.current.names)}"
        agenda = self._runner.agenda()
        if not agenda:
            return "idle; no subscription has a schedule"
        due = agenda[0]
        when = "now" if due.at <= self._now() else f"at {due.at.astimezone(self._runner.zone):%Y-%m-%d %H:%M %Z}"
        return f"idle; next: {due.name} {when}"

    # -- after a sync

    def _finish(self, job: Job, report: Report | None, error: MirrorError | None) -> None:
        """Its commands come next: whoever has handed over the job waits for them, and the next sync does not."""
        self._notify.send(STATUS=self.status())
        if job.origin == "command" and report is not None and report.outcome != "interrupted":
            task = asyncio.create_task(self._run_commands(job, report))
            self._finishing.add(task)
            task.add_done_callback(lambda done: self._finished(done, job))
            job.on_cancel = task.cancel
        else:
            job.end(report, error)
        self._hooks.wake()

    async def _run_commands(self, job: Job, report: Report) -> None:
        emit = fan_out(self._emit, job.emit)
        with self._hooks.leaving(job.names):
            report = await commands_after(
                report,
                self.settings,
                job.names,
                emit=emit,
                now=self._now,
                retry=job.retry,
                withdrawn=lambda: job.cancelled,
            )
        job.end(report)

    def _finished(self, task: asyncio.Task[None], job: Job) -> None:
        self._finishing.discard(task)
        if not job.ended:  # it was cancelled before it had begun
            job.end(Report(outcome="interrupted", reason="interrupted before its commands were run; the next sync runs them"))

    async def _beat(self) -> None:
        """Tell systemd that all is well, as long as it is: the loop turns, and the run makes progress."""
        every = self._notify.watchdog / _BEATS if self._notify.watchdog else _STATUS_EVERY
        while True:
            if self._runner.current is None:
                self._pulse.begin()
            alive = self._pulse.is_alive()
            self._notify.send(STATUS=self.status(), **({"WATCHDOG": 1} if alive and self._notify.watchdog else {}))
            if alive:
                self._told_stalled = False
            elif not self._told_stalled:
                self._told_stalled = True
                self._emit(Note(f"the run has shown no sign of progress for {self._pulse.still:.0f} s", "warning"))
                if self._notify.watchdog:
                    self._emit(Note("the watchdog gets no more signs of life, so that systemd starts the service again", "warning"))
            await asyncio.sleep(every)


def _leave(code: int) -> None:
    """End at once: every byte that matters is on the disk, or is fetched again."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


async def serve(settings: Settings, load: Callable[[], Settings], emit: Emit) -> Ended:
    """Run the service of a mirror until a signal ends it. Raises as `Service.run` does."""
    return await Service(settings, load, emit).run()
