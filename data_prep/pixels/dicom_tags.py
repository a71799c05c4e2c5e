"""Reads optional elements, whose values real files leave empty or fill oddly."""

import math

import pydicom
import pydicom.dataset

_MISSING = object()


class OddValueError(Exception):
    """An element is there, and its value is none that the standard allows."""


def raw(dataset: pydicom.Dataset, name: str):
    """Returns the value of an element as pydicom has it; None if it is absent.

    Raises:
      OddValueError: pydicom cannot read it.
    """
    value = _value(dataset, name)
    return None if value is _MISSING else value


def numbers(dataset: pydicom.Dataset, name: str) -> list[float]:
    """Returns the finite numbers of an element; [] if it is absent.

    Raises:
      OddValueError: it is empty, no number or not finite.
    """
    value = _value(dataset, name)
    if value is _MISSING:
        return []
    several = (
        value if isinstance(value, list | pydicom.multival.MultiValue) else [value]
    )
    try:
        found = [float(v) for v in several]
    except (TypeError, ValueError) as e:
        raise OddValueError(name) from e
    if not found or not all(map(math.isfinite, found)):
        raise OddValueError(name)
    return found


def whole(dataset: pydicom.Dataset, name: str) -> int | None:
    """Returns an element that is one whole number, or None."""
    try:
        found = numbers(dataset, name)
    except OddValueError:
        return None
    return int(found[0]) if len(found) == 1 and found[0].is_integer() else None


def text(dataset: pydicom.Dataset, name: str) -> str:
    """Returns an element as it stands, without the spaces around it; '' if absent."""
    try:
        value = _value(dataset, name)
    except OddValueError:
        return ""
    return "" if value is _MISSING or value is None else str(value).strip()


def item(dataset: pydicom.Dataset, name: str) -> pydicom.Dataset | None:
    """Returns the first item of a sequence; None if the sequence is absent.

    Raises:
      OddValueError: it is there, and has no item.
    """
    value = _value(dataset, name)
    if value is _MISSING:
        return None
    try:
        first = value[0]
    except (TypeError, IndexError) as e:
        raise OddValueError(name) from e
    if not isinstance(first, pydicom.Dataset):
        raise OddValueError(name)
    return first


def _value(dataset: pydicom.Dataset, name: str):
    if name not in dataset:
        return _MISSING
    # pydicom converts an element when it is first read, and odd bytes raise nearly
    # anything.
    try:
        return dataset[name].value
    except MemoryError:
        raise
    except Exception as e:  # noqa: BLE001
        raise OddValueError(name) from e
