"""Hostile input by the million: every reader of bytes from outside, fed with damaged and with made-up input.

    make fuzz                                             # $INPUTS inputs (default: a million) on all cores, from a new seed
    python -m tests.fuzz --seed 7 --target names          # one target only
    python -m tests.fuzz --seed 7 --target names --input 12345    # one input once more, shown

Each input follows from seed, target and number alone. A target makes an input from a source of randomness, and checks what became
of it: no exception but our own, and the rule that its docstring states. The runner adds what holds for all: no input takes long,
and memory stays within a limit. A room that reads something new adds its targets here.
"""

from . import answers, archives, configs, feeds, names, sidecars, texts
from .target import Target, source

TARGETS: tuple[Target, ...] = (
    *feeds.TARGETS,
    *names.TARGETS,
    *sidecars.TARGETS,
    *answers.TARGETS,
    *texts.TARGETS,
    *configs.TARGETS,
    *archives.TARGETS,
)

__all__ = ["TARGETS", "Target", "source"]
