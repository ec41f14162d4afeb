"""What people see of the service: the data sets that a search finds (R41), and what a data set is (R28). Plain HTML, no styles."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from mirror.language import Language
from mirror.phrases import Spoken, phrase, plural, size
from mirror.serving.inspire.datasets import Dataset
from mirror.serving.inspire.feeds import crs_label, format_label
from mirror.serving.inspire.representations import Representation
from mirror.serving.inspire.service import Service

MOST_RESULTS = 500

_FRAME = """<!DOCTYPE html>
<html lang="{{ lang }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }}</title>
<link rel="search" type="application/opensearchdescription+xml" href="{{ service.description }}" title="{{ service.title }}">
<link rel="alternate" type="application/atom+xml" href="{{ feed }}" title="{{ title }}">
</head>
<body>
<main>
<h1>{{ title }}</h1>
{% block body %}{% endblock %}
</main>
</body>
</html>
"""

_RESULTS = """{% extends "frame" %}{% block body %}
<p>{{ subtitle }}</p>
<form action="{{ search }}" role="search">
<label>{{ words.search }} <input type="search" name="q" value="{{ asked }}"></label>
<button>{{ words.go }}</button>
</form>
<p role="status">{{ count }}</p>
<ul>
{%- for one in found %}
<li><a href="{{ service.dataset_page(one.resource.id) }}">{{ one.title }}</a>
 <a href="{{ service.dataset_feed(one.resource.id) }}" type="application/atom+xml">Atom</a></li>
{%- endfor %}
</ul>
{% endblock %}"""

_DATASET = """{% extends "frame" %}{% block body %}
<p>{{ one.abstract }}</p>
<dl>
<dt>{{ words.code }}</dt><dd>{{ one.code }}</dd>
<dt>{{ words.namespace }}</dt><dd>{{ service.home }}</dd>
<dt>{{ words.rights }}</dt><dd>{{ service.rights }}</dd>
</dl>
<ul>
{%- for each, label, amount in found %}
<li><a href="{{ service.representation_feed(one.resource.id, each.slug) }}" type="application/atom+xml">{{ label }}</a>
 ({{ amount }})</li>
{%- endfor %}
</ul>
<ul>
<li><a href="{{ service.url(one.resource.id) }}">{{ words.editions }}</a></li>
<li><a href="{{ feed }}" type="application/atom+xml">{{ words.feed }}</a></li>
<li><a href="{{ service.dataset_record(one.resource.id) }}" type="application/xml">{{ words.record }}</a></li>
<li><a href="{{ service.home }}">{{ words.all }}</a></li>
</ul>
{% endblock %}"""

_TEMPLATES = Environment(
    loader=DictLoader({"frame": _FRAME, "results": _RESULTS, "dataset": _DATASET}),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)


def matching(found: Iterable[Dataset], asked: str) -> list[Dataset]:
    """The data sets that every word asked for is in: in id, code, title or abstract, whatever the case and the accents."""
    words = _folded(asked).split()
    return [
        one
        for one in found
        for text in (_folded(" ".join((one.resource.id, one.code, one.title, one.abstract))),)
        if all(word in text for word in words)
    ]


def results_page(service: Service, language: Language, found: Sequence[Dataset], asked: str) -> bytes:
    """The page with the data sets that were found, or with all where nothing was asked for."""
    words = {"search": phrase("Search the data sets"), "go": phrase("Find")}
    count = plural(len(found), "{n} data set", "{n} data sets")
    return _rendered(
        "results",
        language,
        words,
        service=service,
        title=service.origin.title(language.code),
        subtitle=service.origin.subtitle(language.code),
        feed=service.feed,
        search=service.url("inspire", "search"),
        asked=asked,
        count=language.put(count),
        found=found[:MOST_RESULTS],
    )


def dataset_page(service: Service, language: Language, one: Dataset, found: Sequence[Representation]) -> bytes:
    """What a data set is, and in which CRS and formats it is here."""
    words = {
        "code": phrase("Code"),
        "namespace": phrase("Namespace of the code"),
        "rights": phrase("Terms of use"),
        "editions": phrase("All editions of this data set, with a map"),
        "feed": phrase("Feed of this data set (Atom)"),
        "record": phrase("Metadata of this data set (ISO 19139)"),
        "all": phrase("All data sets"),
    }
    lines = [(each, f"{format_label(service, each)} – {crs_label(service, each)}", language.put(_amount(each))) for each in found]
    feed = service.dataset_feed(one.resource.id)
    return _rendered("dataset", language, words, service=service, title=one.title, feed=feed, one=one, found=lines)


def _amount(each: Representation) -> Spoken:
    return phrase("{files}, {size}", files=plural(each.files, "{n} file", "{n} files"), size=size(each.size))


def _rendered(name: str, language: Language, words: Mapping[str, Spoken], **values: object) -> bytes:
    said = {key: Markup.escape(language.put(text)) for key, text in words.items()}
    page = _TEMPLATES.get_template(name).render(lang=language.code, words=said, **values)
    return page.encode("utf-8", "replace")


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))
