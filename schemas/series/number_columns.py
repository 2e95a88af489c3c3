"""Columns of numbers as bytes: exact, and small where the numbers change little or grow steadily.

Invariants:
- `read_column` returns numbers equal to those that `write_column` was given, None where there was none.
- Numbers of up to DECIMALS_MAX decimals are stored as integers, or as the differences of integers, each in as many bits
  as the widest needs; all others as doubles of eight bytes.
"""

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

Number = float | None

DECIMALS_MAX = 6
_EXACT = 2**53
"""Integers up to this are exact as doubles."""

_NOTHING = b"\0\0"
"""No further integers: the lowest is 0, and each has no bits."""

_DECIMALS, _FLOATS, _GAPS, _DIFFERENCES, _DOUBLES = 0x07, 0x08, 0x10, 0x20, 0x40


def write_column(numbers: Sequence[Number]) -> bytes:
    """Return the numbers as bytes. The reader must know how many there are."""
    present = [number for number in numbers if number is not None]
    flags, mask = 0, b""
    if len(present) < len(numbers):
        flags = _GAPS
        bits = sum(1 << place for place, number in enumerate(numbers) if number is not None)
        mask = bits.to_bytes((len(numbers) + 7) // 8, "little")
    if not present:
        return bytes((flags,)) + mask
    scaled = _as_integers(present)
    if scaled is None:
        return bytes((flags | _DOUBLES,)) + mask + struct.pack(f"<{len(present)}d", *present)
    decimals, integers = scaled
    flags |= decimals
    if not decimals and not all(type(number) is int for number in present):
        flags |= _FLOATS
    start = bytes((flags,)) + mask + write_number(integers[0])
    rest = integers[1:]
    if not rest:  # of a roll-up of one hour, each column has one number
        return start + _NOTHING
    low, high = min(rest), max(rest)
    if low == high:
        return start + write_number(low) + b"\0"
    differences = [after - before for before, after in pairwise(integers)]
    least, most = min(differences), max(differences)
    if most - least < high - low:
        flags, rest, low, high = flags | _DIFFERENCES, differences, least, most
        start = bytes((flags,)) + mask + write_number(integers[0])
    return start + _pack(rest, low, high)


def read_column(data: bytes, count: int) -> list[Number]:
    """Return the numbers of a column of this length."""
    flags, at = data[0], 1
    places = None
    if flags & _GAPS:
        size = (count + 7) // 8
        bits = int.from_bytes(data[1 : 1 + size], "little")
        places = [place for place in range(count) if bits >> place & 1]
        at += size
    number = count if places is None else len(places)
    present = _read_present(data, at, flags, number) if number else []
    if places is None:
        return present
    found: list[Number] = [None] * count
    for place, value in zip(places, present, strict=True):
        found[place] = value
    return found


def write_number(number: int) -> bytes:
    """Return an integer in one byte or more, seven bits each; the sign is in the lowest bit."""
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    found = bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    found.append(rest)
    return bytes(found)


def read_number(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer that begins at this byte, and the place after it."""
    rest = shift = 0
    while True:
        byte = data[at]
        at += 1
        rest |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (rest >> 1 if not rest & 1 else -((rest + 1) >> 1)), at


def _read_present(data: bytes, at: int, flags: int, number: int) -> list[Number]:
    if flags & _DOUBLES:
        return list(struct.unpack_from(f"<{number}d", data, at))
    first, at = read_number(data, at)
    rest = _unpack(data, at, number - 1)
    integers = list(accumulate(rest, initial=first)) if flags & _DIFFERENCES else [first, *rest]
    if decimals := flags & _DECIMALS:
        scale = 10**decimals
        return [integer / scale for integer in integers]
    return [float(integer) for integer in integers] if flags & _FLOATS else list(integers)


def _as_integers(numbers: Sequence[float]) -> tuple[int, list[int]] | None:
    """Return the smallest number of decimals with which all are exact, and the numbers times that power of ten."""
    if max(numbers) > _EXACT or min(numbers) < -_EXACT:
        return None
    whole = [number for number in numbers if type(number) is int]
    if len(whole) == len(numbers):
        return 0, whole
    for decimals in range(DECIMALS_MAX + 1):
        scale = 10**decimals
        integers = []
        for number in numbers:
            integer = round(number * scale)
            if integer / scale != number:
                break
            integers.append(integer)
        else:
            return decimals, integers
    return None


def _pack(integers: Sequence[int], lowest: int, highest: int) -> bytes:
    """Return the lowest integer, a width in bits, and how far each is above the lowest in that width."""
    width = (highest - lowest).bit_length()
    bits = 0
    for integer in reversed(integers):
        bits = bits << width | integer - lowest
    return write_number(lowest) + bytes((width,)) + bits.to_bytes((width * len(integers) + 7) // 8, "little")


def _unpack(data: bytes, at: int, number: int) -> list[int]:
    lowest, at = read_number(data, at)
    width = data[at]
    bits = int.from_bytes(data[at + 1 : at + 1 + (width * number + 7) // 8], "little")
    mask = (1 << width) - 1
    return [lowest + (bits >> place * width & mask) for place in range(number)]
