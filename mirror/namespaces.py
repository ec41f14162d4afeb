"""The XML namespaces and media types of the feeds, as their standards name them."""

from __future__ import annotations

from typing import Final

ATOM: Final = "http://www.w3.org/2005/Atom"  # RFC 4287
GEORSS: Final = "http://www.georss.org/georss"
GPF_DL: Final = "https://data.geopf.fr/annexes/ressources/xsd/gpf_dl.xsd"  # [L] live feeds of the Géoplateforme
INSPIRE_DLS: Final = "http://inspire.ec.europa.eu/schemas/inspire_dls/1.0"  # INSPIRE TG Download Services 3.4
OPENSEARCH: Final = "http://a9.com/-/spec/opensearch/1.1/"
METALINK: Final = "urn:ietf:params:xml:ns:metalink"  # RFC 5854
XML: Final = "http://www.w3.org/XML/1998/namespace"

ATOM_TYPE: Final = "application/atom+xml"
OPENSEARCH_TYPE: Final = "application/opensearchdescription+xml"
METALINK_TYPE: Final = "application/metalink4+xml"
