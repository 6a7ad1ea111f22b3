"""Prometheus' text format: histograms written at once, and the documents of several gateways as one. Pure.

`prometheus_client` takes about 15 µs for a sample. A histogram has some thirty of them for each version, and the event
loop that writes them has requests to answer. So histograms are written here, line by line, in a twentieth of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_HELP = b"# HELP "


@dataclass(frozen=True, slots=True)
class Series:
    """One histogram of a family.

    Attributes:
        labels: by name.
        cumulative: how many values are at most as large as each edge; the last number is of all values.
        total: the sum of the values.
    """

    labels: Mapping[str, str]
    cumulative: Sequence[int]
    total: float


def histogram(name: str, help_text: str, edges: Sequence[str], series: Iterable[Series]) -> str:
    """The text of a family of histograms.

    >>> print(histogram("wait_seconds", "Waited", ["0.1"], [Series({"to": "a"}, [3, 4], 0.9)]), end="")
    # HELP wait_seconds Waited
    # TYPE wait_seconds histogram
    wait_seconds_bucket{to="a",le="0.1"} 3
    wait_seconds_bucket{to="a",le="+Inf"} 4
    wait_seconds_count{to="a"} 4
    wait_seconds_sum{to="a"} 0.9
    """
    lines = [f"# HELP {name} {help_text}\n# TYPE {name} histogram\n"]
    for each in series:
        labels = ",".join(f'{label}="{escaped(value)}"' for label, value in each.labels.items())
        start = f'{name}_bucket{{{labels},le="'
        lines += [f'{start}{edge}"}} {count}\n' for edge, count in zip((*edges, "+Inf"), each.cumulative, strict=True)]
        lines.append(f"{name}_count{{{labels}}} {each.cumulative[-1]}\n{name}_sum{{{labels}}} {each.total!r}\n")
    return "".join(lines)


def answered(numbers: Mapping[int, bool]) -> bytes:
    """Which gateways of the node a document has the counts of, by number."""
    name = "divisions_gateway_answered"
    head = f"# HELP {name} Whether this scrape has the counts of this gateway\n# TYPE {name} gauge\n"
    lines = [f'{name}{{gateway="{number}"}} {int(has)}\n' for number, has in sorted(numbers.items())]
    return "".join([head, *lines]).encode()


def escaped(value: str) -> str:
    """A label's value as it stands between quotes.

    >>> escaped('a "b"')
    'a \\\\"b\\\\"'
    """
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def merged(documents: Sequence[bytes]) -> bytes:
    """One document of several: each family once, with the samples of all. They must differ in a label.

    >>> one = b'# HELP a A\\n# TYPE a gauge\\na{gateway="0"} 1\\n'
    >>> print(merged([one, one.replace(b'"0"', b'"1"')]).decode(), end="")
    # HELP a A
    # TYPE a gauge
    a{gateway="0"} 1
    a{gateway="1"} 1
    """
    heads: dict[bytes, bytes] = {}
    samples: dict[bytes, list[bytes]] = {}
    for document in documents:
        for family in document.removeprefix(_HELP).split(b"\n" + _HELP):
            if not family:
                continue
            help_line, _, rest = family.partition(b"\n")
            type_line, _, lines = rest.partition(b"\n")
            name = help_line.partition(b" ")[0]
            heads.setdefault(name, _HELP + help_line + b"\n" + type_line + b"\n")
            samples.setdefault(name, []).append(lines if not lines or lines.endswith(b"\n") else lines + b"\n")
    return b"".join(heads[name] + b"".join(samples[name]) for name in heads)
