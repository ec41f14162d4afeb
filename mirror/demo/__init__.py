"""A small sample upstream on loopback, for `inspire-mirror demo` and for the tests."""
