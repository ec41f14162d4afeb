"""Pages for people: search, resources and editions, how the mirror stands. Made here, whole; scripts only add to them.

`routes` says what is at which path, `asked` reads a query, `search`, `resource`, `edition` and `status` gather what a page says,
`rendering` puts it into a template and a language.
"""
