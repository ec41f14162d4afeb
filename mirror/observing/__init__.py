"""How a mirror is seen from outside: how it stands, what it is doing, whether all is well, how its upstreams answer.

    index, settings -> observed facts \
                                       -> standings, metrics, health, availability -> command line, HTTP, textfile
    events -> live view, counters    /

Nothing in here changes the mirror. What judges (`health`, `availability`) is pure; what asks the index does so in one thread at a
time and on a connection of its own, so that nobody who looks ever holds up a sync.
"""
