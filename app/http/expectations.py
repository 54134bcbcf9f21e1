"""Types in words: what a person who sent a wrong value reads under `expected`."""

from functools import singledispatch
from typing import Any

from msgspec import inspect

_PLAIN: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.AnyType: "any JSON value",
    inspect.DictType: "an object",
}


@singledispatch
def describe(kind: inspect.Type) -> str:
    """Say in words what a value of this type looks like: "a whole number from 1 to 100"."""
    return _PLAIN.get(type(kind), type(kind).__name__.removesuffix("Type").lower())


@describe.register
def _(kind: inspect.Metadata) -> str:
    return describe(kind.type)


@describe.register
def _(kind: inspect.UnionType) -> str:
    return " or ".join(describe(member) for member in kind.types if not isinstance(member, inspect.NoneType))


@describe.register
def _(kind: inspect.IntType) -> str:
    return "a whole number" + _bounds(kind)


@describe.register
def _(kind: inspect.FloatType) -> str:
    return "a number" + _bounds(kind)


@describe.register
def _(kind: inspect.StrType) -> str:
    pattern = f" matching {kind.pattern}" if kind.pattern else ""
    return "text" + _lengths(kind.min_length, kind.max_length, "character") + pattern


@describe.register
def _(kind: inspect.ListType) -> str:
    return "a list" + _lengths(kind.min_length, kind.max_length, "item")


@describe.register
def _(kind: inspect.VarTupleType) -> str:
    return "a list" + _lengths(kind.min_length, kind.max_length, "item")


@describe.register
def _(kind: inspect.EnumType) -> str:
    return "one of " + ", ".join(str(member.value) for member in kind.cls)


@describe.register
def _(kind: inspect.LiteralType) -> str:
    return "one of " + ", ".join(str(value) for value in kind.values)


@describe.register
def _(kind: inspect.StructType) -> str:
    return "an object with " + ", ".join(field_names(kind))


@describe.register
def _(kind: inspect.CustomType) -> str:
    return "a file" if kind.cls.__name__ == "UploadFile" else kind.cls.__name__


def field_names(kind: inspect.StructType) -> list[str]:
    """The names of a struct's fields as they are written in JSON."""
    return [field.encode_name for field in kind.fields]


def type_at(kind: inspect.Type, path: list[str | int]) -> inspect.Type:
    """Walk from the body's type down a path of field names and list positions; `AnyType` where it ends
    early.
    """
    for step in path:
        kind = _type_below(kind, step)
    return kind


def _type_below(kind: inspect.Type, step: str | int) -> inspect.Type:
    match kind:
        case inspect.Metadata():
            return _type_below(kind.type, step)
        case inspect.UnionType():
            containers = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
            return _type_below(containers[0], step) if len(containers) == 1 else inspect.AnyType()
        case inspect.StructType():
            named = {field.encode_name: field.type for field in kind.fields}
            return named.get(str(step), inspect.AnyType())
        case inspect.ListType() | inspect.VarTupleType():
            return kind.item_type
        case inspect.DictType():
            return kind.value_type
        case _:
            return inspect.AnyType()


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    low: Any = kind.ge if kind.ge is not None else kind.gt
    high: Any = kind.le if kind.le is not None else kind.lt
    if low is not None and high is not None:
        above = "above " if kind.gt is not None else ""
        below = "below " if kind.lt is not None else ""
        return f" from {above}{low:g} to {below}{high:g}"
    if low is not None:
        return f" above {low:g}" if kind.gt is not None else f" of at least {low:g}"
    if high is not None:
        return f" below {high:g}" if kind.lt is not None else f" of at most {high:g}"
    return ""


def _lengths(shortest: int | None, longest: int | None, unit: str) -> str:
    if shortest and longest:
        return f" of {shortest} to {longest} {unit}s"
    if shortest:
        return f" of at least {shortest} {unit}{'s' if shortest > 1 else ''}"
    if longest:
        return f" of at most {longest} {unit}{'s' if longest > 1 else ''}"
    return ""
