"""Measurements against real peers, on this machine: `python -m bench`. See README.md."""
