"""Which requests become traces: the samplers that OpenTelemetry names, decided before anything is recorded. Pure."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT = "parentbased_always_on"
_ALL = 1 << 64
_RATIOS = {"traceidratio", "parentbased_traceidratio"}
_BOUNDS = {"always_on": _ALL, "always_off": 0, "parentbased_always_on": _ALL, "parentbased_always_off": 0}


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which requests become traces.

    Attributes:
        follows_parent: whether the caller's decision holds, where it has sent one.
        bound: the others are sampled if the lower 64 bits of their trace's id are below it.
    """

    follows_parent: bool
    bound: int


def sampling_of(name: str, argument: str) -> tuple[Sampling, str]:
    """The sampling of ``OTEL_TRACES_SAMPLER`` and ``OTEL_TRACES_SAMPLER_ARG``, and what is wrong with them.

    As OpenTelemetry's specification wants, what cannot be read is told and left aside: no sampler then, or no argument.

    >>> sampling, problem = sampling_of("parentbased_traceidratio", "0.25")
    >>> sampling.follows_parent, sampling.bound == 1 << 62, problem
    (True, True, '')
    """
    problem = ""
    name = name.strip().lower() or DEFAULT
    if name not in _BOUNDS and name not in _RATIOS:
        known = ", ".join(sorted({*_BOUNDS, *_RATIOS}))
        problem = f"OTEL_TRACES_SAMPLER is {name[:40]!r}, which is none of {known}; {DEFAULT} holds"
        name = DEFAULT
    bound = _BOUNDS.get(name, _ALL)
    if name in _RATIOS and argument.strip():
        ratio = _ratio(argument)
        if ratio is None:
            problem = f"OTEL_TRACES_SAMPLER_ARG must be from 0 to 1, got {argument[:40]!r}; 1 holds"
        else:
            bound = round(ratio * _ALL)
    return Sampling(name.startswith("parentbased_"), bound), problem


def _ratio(text: str) -> float | None:
    try:
        ratio = float(text)
    except ValueError:
        return None
    return ratio if 0.0 <= ratio <= 1.0 else None
