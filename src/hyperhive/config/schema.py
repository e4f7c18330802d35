"""The types of settings as a schema: their keys, and everything that is wrong with a table beside the first fault."""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from hyperhive.config.toml_lines import KeyPath
from hyperhive.protocol.settings import AgentSettings

_SHOWN: Final = 60
_MAX_INT: Final = 2**63


@dataclass(frozen=True, kw_only=True)
class Fault:
    path: KeyPath  #: with dashes and underscores as they were written
    text: str


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of the reference: tables are not keys, and NAME stands for what the operator chooses."""

    name: str
    default: str  #: as TOML; empty: it must be given, or is nothing
    description: str


def keys(kind: type[Struct], prefix: str = "") -> Iterator[Key]:
    """Every key of a type of settings, in its order."""
    for field in msgspec.structs.fields(kind):
        name, inner = f"{prefix}{field.encode_name}", bare(field.type)
        if is_struct(inner):
            yield from keys(inner, f"{name}.")
        elif get_origin(inner) is dict and is_struct(bare(get_args(inner)[1])):
            yield from keys(get_args(inner)[1], f"{name}.NAME.")
        else:
            yield Key(name=name, default=_default(field), description=_described(field.type))


def plain(table: Any, kind: Any) -> Any:
    """The value with underscores for dashes in the keys of ours; names that the operator chose stay as they are."""
    inner = bare(kind)
    if not isinstance(table, dict):
        return table
    if is_struct(inner):
        kinds = _kinds(inner)
        return {
            (plain_key := key.replace("-", "_")): plain(value, kinds.get(plain_key)) for key, value in table.items()
        }
    values = get_args(inner)[1] if get_origin(inner) is dict else None
    return {key: plain(value, values) for key, value in table.items()}


def plain_path(path: KeyPath, kind: Any) -> KeyPath:
    """The path of a key in what `plain` makes of its table."""
    if not path:
        return ()
    inner, (key, *rest) = bare(kind), path
    if is_struct(inner):
        key = key.replace("-", "_")
        return (key, *plain_path(tuple(rest), _kinds(inner).get(key)))
    return (key, *plain_path(tuple(rest), get_args(inner)[1])) if get_origin(inner) is dict else path


def values(settings: Struct, above: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every key that has a value, those within tables by name included."""
    for name in settings.__struct_fields__:
        yield from _values(getattr(settings, name), (*above, name))


def faults(value: Any, kind: Any, path: KeyPath = ()) -> Iterator[Fault]:
    """Everything in the value that is not of the type, one after the other and only as far as it is asked for."""
    inner = bare(kind)
    if is_struct(inner) and isinstance(value, dict):
        yield from _of_table(value, inner, path)
    elif get_origin(inner) is dict and isinstance(value, dict):
        yield from _of_names(value, kind, path)
    elif get_origin(inner) in (list, tuple) and isinstance(value, list):
        yield from _of_items(value, kind, path)
    else:
        yield from _of_value(value, kind, path)


def said(kind: Any) -> dict[str, Any]:
    """Title, description and bounds of a type, as far as it has them."""
    return _meta(kind)


def toml(value: Any) -> str:
    """A value of settings as TOML."""
    match value:
        case None:
            return ""
        case bool() | int() | float():
            return json.dumps(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            inner = ", ".join(f"{key} = {toml(item)}" for key, item in value.items())
            return f"{{ {inner} }}" if inner else "{}"
    return f"[{', '.join(map(toml, value))}]"


def bare(kind: Any) -> Any:
    """The type without what is said about it, and without its None."""
    kind = _some(kind)
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _values(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, Struct):
        yield from values(value, path)
    elif isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _values(item, (*path, name))
    else:
        yield path, value


def _of_table(table: dict[str, Any], kind: type[Struct], path: KeyPath) -> Iterator[Fault]:
    kinds = _kinds(kind)
    given: set[str] = set()
    for written, value in table.items():
        key = written.replace("-", "_")
        if key in given:
            yield Fault(path=(*path, written), text=f"{_name(path, key)}: given twice, with - and with _")
        elif key in kinds:
            yield from faults(value, kinds[key], (*path, written))
        else:
            yield Fault(path=(*path, written), text=f"unknown key `{_name(path, written)}`; {_hint(key, path, kinds)}")
        given.add(key)
    for field in msgspec.structs.fields(kind):
        if field.required and field.encode_name not in given:
            yield Fault(path=path, text=f"{_name(path, field.encode_name)}: it must be given")


def _hint(key: str, path: KeyPath, kinds: dict[str, Any]) -> str:
    if path and key in AgentSettings.__struct_fields__:
        return f"`{key}` of the agent itself goes above the first [table]"
    near = difflib.get_close_matches(key[:_SHOWN], kinds, n=1)
    return f"did you mean `{near[0]}`?" if near else "there is no such key here"


def _of_names(value: dict[str, Any], kind: Any, path: KeyPath) -> Iterator[Fault]:
    key_kind, item_kind = get_args(bare(kind))
    if len(value) > _meta(kind).get("max_length", len(value)):
        yield Fault(path=path, text=f"{_name(path)}: expected {_expected(kind)}, it has {len(value)}")
    for name, item in value.items():
        here = (*path, name)
        if _is_wrong(name, key_kind):
            yield Fault(path=here, text=f"{_name(here)}: expected as its name {_expected(key_kind)}")
        yield from faults(item, item_kind, here)


def _of_items(value: list[Any], kind: Any, path: KeyPath) -> Iterator[Fault]:
    if len(value) > _meta(kind).get("max_length", len(value)):
        yield Fault(path=path, text=f"{_name(path)}: expected {_expected(kind)}, it has {len(value)}")
    for item in value:
        yield from faults(item, get_args(bare(kind))[0], path)


def _of_value(value: Any, kind: Any, path: KeyPath) -> Iterator[Fault]:
    if isinstance(value, str) and "\0" in value:
        yield Fault(path=path, text=f"{_name(path)}: it has a NUL character in it")
    elif _is_wrong(value, kind):
        shown = _kind_of(value) if "env" in path[:-1] else _shown(value)
        yield Fault(path=path, text=f"{_name(path)}: expected {_expected(kind)}, it is {shown}")


def _is_wrong(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return True
    return False


def _expected(kind: Any) -> str:
    """What a value of the type is, in words."""
    inner, meta = bare(kind), _meta(kind)
    if "title" in meta:
        return str(meta["title"])
    if get_origin(inner) is Literal:
        return f"one of {', '.join(get_args(inner))}"
    if inner is int:
        return f"a whole number from {meta['ge']} to {meta['le']}"
    if inner is str:
        return (
            f"text of {meta.get('min_length', 0)} to {meta['max_length']} characters"
            if "max_length" in meta
            else "text"
        )
    if inner is bool:
        return "true or false"
    form = "a list" if get_origin(inner) in (list, tuple) else "a table"
    return f"{form} of at most {meta['max_length']}" if "max_length" in meta else form


def _some(kind: Any) -> Any:
    arms = get_args(kind)
    return next(arm for arm in arms if arm is not NoneType) if NoneType in arms else kind


def _meta(kind: Any) -> dict[str, Any]:
    """What is said about a type, the outer words over the inner ones."""
    said = [note for note in getattr(_some(kind), "__metadata__", ()) if isinstance(note, Meta)]
    names = ("title", "description", "ge", "le", "min_length", "max_length")
    return {name: value for note in said for name in names if (value := getattr(note, name)) is not None}


def _described(kind: Any) -> str:
    return str(_meta(kind).get("description", ""))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return toml(field.default)
    return "" if field.default_factory is msgspec.NODEFAULT else toml(field.default_factory())


def _kinds(kind: type[Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _name(path: KeyPath, *more: str) -> str:
    """The key for an error: bounded and on one line, whatever was written."""
    words = ".".join((*path, *more))
    return words if words.isprintable() and len(words) <= _SHOWN else json.dumps(words[:_SHOWN])


def _kind_of(value: Any) -> str:
    """In words; what is none of these is a date or a time."""
    words = {bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return words.get(type(value), "a date or time")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value) if len(value) <= _SHOWN else f"text of {len(value)} characters"
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < _MAX_INT):
        return json.dumps(value)
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return _kind_of(value)
