"""The themes of INSPIRE, for the filter `thematic` of the capabilities.

Which resources upstream counts to a theme is in none of its feeds, and so in no mirror's index. What describes a resource is all
there is to go by: one that names the theme, in English or French, is taken to be about it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from mirror.model import Resource

# Directive 2007/2/EC, annexes I to III: the code of each theme in the INSPIRE registry, its English and its French name.
_THEMES = {
    "RS": ("Coordinate reference systems", "Référentiels de coordonnées"),
    "GG": ("Geographical grid systems", "Systèmes de maillage géographique"),
    "GN": ("Geographical names", "Dénominations géographiques"),
    "AU": ("Administrative units", "Unités administratives"),
    "AD": ("Addresses", "Adresses"),
    "CP": ("Cadastral parcels", "Parcelles cadastrales"),
    "TN": ("Transport networks", "Réseaux de transport"),
    "HY": ("Hydrography", "Hydrographie"),
    "PS": ("Protected sites", "Sites protégés"),
    "EL": ("Elevation", "Altitude"),
    "LC": ("Land cover", "Occupation des terres"),
    "OI": ("Orthoimagery", "Ortho-imagerie"),
    "GE": ("Geology", "Géologie"),
    "SU": ("Statistical units", "Unités statistiques"),
    "BU": ("Buildings", "Bâtiments"),
    "SO": ("Soil", "Sols"),
    "LU": ("Land use", "Usage des sols"),
    "HH": ("Human health and safety", "Santé et sécurité des personnes"),
    "US": ("Utility and governmental services", "Services d'utilité publique et services publics"),
    "EF": ("Environmental monitoring facilities", "Installations de suivi environnemental"),
    "PF": ("Production and industrial facilities", "Lieux de production et sites industriels"),
    "AF": ("Agricultural and aquaculture facilities", "Installations agricoles et aquacoles"),
    "PD": ("Population distribution and demography", "Répartition de la population et démographie"),
    "AM": (
        "Area management, restriction and regulation zones and reporting units",
        "Zones de gestion, de restriction ou de réglementation et unités de déclaration",
    ),
    "NZ": ("Natural risk zones", "Zones à risque naturel"),
    "AC": ("Atmospheric conditions", "Conditions atmosphériques"),
    "MF": ("Meteorological geographical features", "Caractéristiques géographiques météorologiques"),
    "OF": ("Oceanographic geographical features", "Caractéristiques géographiques océanographiques"),
    "SR": ("Sea regions", "Régions maritimes"),
    "BR": ("Bio-geographical regions", "Régions biogéographiques"),
    "HB": ("Habitats and biotopes", "Habitats et biotopes"),
    "SD": ("Species distribution", "Répartition des espèces"),
    "ER": ("Energy resources", "Sources d'énergie"),
    "MR": ("Mineral resources", "Ressources minérales"),
}
_URI = re.compile(r"https?://inspire\.ec\.europa\.eu/theme/([a-z]{2})/?", re.IGNORECASE)


def is_about(resource: Resource, theme: str) -> bool:
    """Whether what describes a resource names the theme: asked for by its code, its URI, its name, or any other words."""
    described = _folded(" ".join((resource.title, resource.abstract, resource.identifier, resource.id)))
    return any(name in described for name in _names(theme))


@lru_cache(maxsize=256)
def _names(theme: str) -> tuple[str, ...]:
    asked = theme.strip()
    uri = _URI.fullmatch(asked)
    code = (uri[1] if uri else asked).upper()
    if code in _THEMES:
        return tuple(map(_folded, _THEMES[code]))
    words = _folded(asked)
    for names in _THEMES.values():
        folded = tuple(map(_folded, names))
        if words in folded:
            return folded
    return (words,)


def _folded(text: str) -> str:
    """Without accents, case and punctuation, so that `Bâtiments` is found in `bâtiments, réseaux`."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[a-z0-9]+", plain))
