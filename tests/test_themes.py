"""Which resources are taken to be about a theme of INSPIRE, by what describes them."""

from __future__ import annotations

import pytest

from mirror.model import Resource
from mirror.serving.geoplateforme.themes import is_about


@pytest.mark.parametrize("apostrophe", ["'", "’"])
def test_a_theme_is_found_with_every_apostrophe(apostrophe: str) -> None:
    resource = Resource(
        "X", "http://upstream.example/X", f"Lignes\u00a0: services d{apostrophe}utilité publique et SERVICES PUBLICS"
    )
    assert is_about(resource, "US")
    assert not is_about(resource, "ER")
