"""The mirror over HTTP: `app` says what is at which path, `listener` opens the door and closes it.

Handlers never block the loop: what asks index or disk does so in a thread, on a connection of its own.
"""
