"""The API of the Géoplateforme over the mirror: whoever works with the one works with the other, when the base URL changes.

    request -> asked (filters, paging) -> Offer -> document (JSON) -> spelling (JSON or Atom XML) -> Answers

The members, their order and the routes are those of the live service [O, L]; what is added is marked as ours.
"""
