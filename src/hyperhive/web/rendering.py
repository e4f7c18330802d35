"""Values into HTML. Everything is escaped by the templates' environment; nothing here builds markup by hand.

The one other way is `markdown`: made by a parser that passes no HTML on, then sanitised to a short list of tags.
"""

import functools
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import nh3
from jinja2 import DictLoader, Environment, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from msgspec import UNSET

from hyperhive.web import assets
from hyperhive.web.helper_words import helper_words

TEMPLATES: Final = Path(__file__).with_name("templates")
_LAST_MOMENT: Final = 253_402_300_799.0
"""The last second that a date can be written for: an agent's clock is its own."""
_UNITS: Final = ((86400 * 365, "y"), (86400 * 30, "mo"), (86400, "d"), (3600, "h"), (60, "min"))
_MOVERS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Characters that are not seen, reorder a line or end it: in them a text could hide another from its reader."""
_MAX_MARKDOWN: Final = 16_384
_MARKS: Final = "[]()*_~`|<&!"
_MAX_MARKS: Final = 2000
"""More of these in a text are no markup of a person's, and a parser may take a second over them."""
_TAGS: Final = {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "h1", "h2", "h3", "h4", "h5",
    "h6", "table", "thead", "tbody", "tr", "th", "td", "a",
}  # fmt: skip
_markdown: Final = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")

Moment = str | float | None


def render(name: str, /, **values: Any) -> str:
    """The template of that name with these values."""
    return _ENVIRONMENT.get_template(name).render(**values)


def seen(text: str) -> str:
    """The text with a mark in place of each character that would not be seen, or would move others."""
    return _MOVERS.sub(_mark, text)


def _mark(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code == 0x0D:
        return ""
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def moment(when: Moment) -> datetime:
    """A time of the wire (RFC 3339) or of the database (Unix seconds), as near as a date can be written for it."""
    if isinstance(when, str):
        return datetime.fromisoformat(when.replace("Z", "+00:00"))
    return datetime.fromtimestamp(min(max(when or 0.0, 0.0), _LAST_MOMENT), UTC)


def age(when: Moment, now: datetime | None = None) -> str:
    """How long ago, or how long until, in the largest unit that fits."""
    seconds = ((now or datetime.now(UTC)) - moment(when)).total_seconds()
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            text = f"{int(abs(seconds) // size)} {unit}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    return "now" if seconds > -1 else "in a moment"


def absolute(when: Moment) -> str:
    return moment(when).strftime("%Y-%m-%d %H:%M:%S UTC")


def stamp(when: Moment) -> str:
    """As the datetime attribute of a time element."""
    return moment(when).strftime("%Y-%m-%dT%H:%M:%SZ")


def size(count: int) -> str:
    """Bytes, for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def tokens(count: int) -> str:
    return str(count) if count < 1000 else f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"


def usd(cost: float) -> str:
    return f"${cost:.2f}" if not cost or cost >= 0.01 else "< $0.01"


def seconds(length: float) -> str:
    """A length of time, for people."""
    minutes, rest = divmod(round(length), 60)
    return (
        f"{length:.1f} s" if length < 60 else f"{minutes} min {rest} s" if minutes < 60 else f"{length / 3600:.1f} h"
    )


def clip(text: str, limit: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


@functools.lru_cache(maxsize=256)
def markdown(text: str) -> Markup:
    """An agent's markdown: no HTML of its own, no images, links to tabs of their own that leave nothing behind.

    What has markup without measure is shown as it came.
    """
    text = seen(text[:_MAX_MARKDOWN])
    if sum(map(text.count, _MARKS)) > _MAX_MARKS:
        return Markup("<pre>{}</pre>").format(text)
    made = _markdown.render(text)
    safe = nh3.clean(
        made,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return Markup(safe)  # sanitised in the line above, by the one function that may say so


def trusted(html: str) -> Markup:
    """What `render` made before."""
    return Markup(html)


def compile_templates() -> None:
    """All of them, so that no page waits for its own; takes about a second, and may run in a thread."""
    for name in _ENVIRONMENT.list_templates():
        _ENVIRONMENT.get_template(name)


def line_kind(line: str) -> str:
    """What a line of a unified diff is."""
    return {"+": "added", "-": "removed", "@": "hunk", "\\": "note"}.get(line[:1], "same")


def _environment() -> Environment:
    """All templates are read here: a request reads no file."""
    sources = {str(path.relative_to(TEMPLATES)): path.read_text("utf-8") for path in TEMPLATES.rglob("*.html")}
    environment = Environment(
        loader=DictLoader(sources),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    for own in (age, absolute, stamp, size, tokens, usd, seconds, clip, markdown, trusted, line_kind, helper_words):
        environment.filters[own.__name__] = own
    environment.globals["asset"] = assets.url
    environment.tests["given"] = lambda value: bool(value) and value is not UNSET
    return environment


def _finalize(value: Any) -> Any:
    """Every value that a template shows: what could hide something is made seen, whoever wrote it."""
    return seen(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_ENVIRONMENT: Final = _environment()
