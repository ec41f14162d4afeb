"""A suite of our own for INSPIRE download services over Atom: one check for each requirement and for each trap of the validator."""
