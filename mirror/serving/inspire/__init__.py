"""The mirror as an INSPIRE download service: Atom feeds with OpenSearch, by the Technical Guidance 3.4.0, all of it generated.

A service feed lists the data sets (the resources that are offered), the feed of a data set its representations (one entry for each
CRS and format, of the newest editions), and the feed of a representation its editions. `R` and a number in a comment is a
requirement of the guidance.
"""
