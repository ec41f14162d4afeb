"""The recorded responses of the live service as an upstream, with the very files that they list."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.serving.geoplateforme.spelling import Document

from .fake import FakeUpstream

LIVE_BASE = "https://data.geopf.fr/telechargement"
_RESOURCE, _SUB = "limites_administratives", "departements"


def recordings(folder: Path, *, verbatim: bool = False, **options: Any) -> FakeUpstream:
    """An upstream that serves `official_*.json` of `folder` (`shared/fixtures/gpf`) and downloads from its `files`.

    The links lead to the fake itself, or, when `verbatim`, to the live host as recorded. `options` are those of `FakeUpstream`.
    """
    recorded = {
        "/capabilities": "official_capabilities.json",
        f"/resource/{_RESOURCE}": "official_resource.json",
        f"/resource/{_RESOURCE}/{_SUB}": "official_subresource.json",
    }
    documents: dict[str, Callable[[str], Document]] = {
        path: partial(_document, (folder / name).read_text(encoding="utf-8"), verbatim) for path, name in recorded.items()
    }
    files = tuple(SampleFile(path.name, path) for path in sorted((folder / "files" / _RESOURCE / _SUB).iterdir()))
    catalogue = Catalogue((SampleResource(_RESOURCE, (SampleSub(_SUB, files=files),)),))
    return FakeUpstream(catalogue, documents=documents, **options)


def _document(text: str, verbatim: bool, base: str) -> Document:
    document: Document = json.loads(text if verbatim else text.replace(LIVE_BASE, base))
    return document
