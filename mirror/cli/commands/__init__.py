"""One module per group of commands. A module is loaded when one of its commands is called: `query` must not pay for `sync`."""
