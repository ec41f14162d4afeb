"""The service: `inspire-mirror run`. It syncs by the clock and on demand, one run at a time, and is watched over by systemd.

    clock, hand -> agenda -> runner (one sync at a time) -> events -> log, live view, metrics, whoever asked

`agenda` (in planning) says what is due, `runner` carries it out, `control` and `handover` are the two ends of the socket by which
commands reach it, `memory` is what it remembers through restarts, `notify` and `pulse` are its word to systemd, `service` puts it
together.
"""
