"""The OpenSearch description: how to ask for data sets (R39-R45)."""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from mirror.namespaces import ATOM_TYPE, INSPIRE_DLS, OPENSEARCH, OPENSEARCH_TYPE
from mirror.serving.inspire.atom import legal, text, written
from mirror.serving.inspire.datasets import Dataset
from mirror.serving.inspire.representations import Representation
from mirror.serving.inspire.service import Service

# OpenSearch 1.1, the longest values of these elements.
_SHORT_NAME = 16
_LONG_NAME = 48
_DESCRIPTION = 1024
_TITLE = 256

_DATASET = (
    "spatial_dataset_identifier_code={inspire_dls:spatial_dataset_identifier_code?}"
    "&spatial_dataset_identifier_namespace={inspire_dls:spatial_dataset_identifier_namespace?}"
)


def opensearch_description(service: Service, found: Sequence[tuple[Dataset, Sequence[Representation]]]) -> bytes:
    """The description, with one example of a request for each data set."""
    root = etree.Element(f"{{{OPENSEARCH}}}OpenSearchDescription", nsmap={None: OPENSEARCH, "inspire_dls": INSPIRE_DLS})
    _said(root, "ShortName", service.origin.upstream[:_SHORT_NAME])
    _said(root, "Description", service.subtitle[:_DESCRIPTION])
    _url(root, OPENSEARCH_TYPE, "self", service.description)
    _url(root, "text/html", "results", f"{service.url('inspire', 'search')}?q={{searchTerms}}")
    _url(root, ATOM_TYPE, "describedby", f"{service.url('inspire', 'describe')}?{_DATASET}&language={{language?}}")
    # Exactly one: what it is answered with has exactly this type, whatever there is of files.
    get = f"{service.url('inspire', 'get')}?{_DATASET}&crs={{inspire_dls:crs?}}&language={{language?}}"
    _url(root, ATOM_TYPE, "results", get)
    _said(root, "Contact", service.email)
    _said(root, "LongName", service.title[:_LONG_NAME])
    for one, representations in found:
        query = etree.SubElement(root, f"{{{OPENSEARCH}}}Query", role="example")
        query.set(f"{{{INSPIRE_DLS}}}spatial_dataset_identifier_code", legal(one.code))
        query.set(f"{{{INSPIRE_DLS}}}spatial_dataset_identifier_namespace", service.home)
        for each in representations[:1]:
            query.set(f"{{{INSPIRE_DLS}}}crs", each.crs)
        query.set("language", service.lang)
        query.set("title", legal(one.title)[:_TITLE])
        query.set("count", "1")
    _said(root, "Developer", service.author[:64])
    _said(root, "SyndicationRight", "open")
    _said(root, "Language", service.lang)
    _said(root, "InputEncoding", "UTF-8")
    _said(root, "OutputEncoding", "UTF-8")
    return written(root)


def _said(root: etree._Element, name: str, value: str) -> None:
    text(root, name, value, OPENSEARCH)


def _url(root: etree._Element, kind: str, rel: str, template: str) -> None:
    etree.SubElement(root, f"{{{OPENSEARCH}}}Url", type=kind, rel=rel, template=template)
