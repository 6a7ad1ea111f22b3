"""The short texts of a pipeline file. Each has its own small grammar.

==================================  ==========================================================
``python:3.11-gpu``                 `parse_runtime`
``2vCPU, 8GB RAM``                  `parse_resources`; also ``T4-GPU, 16GB VRAM``, ``2x A100-GPU``
``canary: 20% → 50% → 100%``        `parse_strategy`; ``->`` for the arrow
``/api/v2/predict/churn``           `parse_endpoint`
``10m``                             `parse_duration_s`: ms, s, m, h or d
``2.5%``                            `parse_percent_bp`
==================================  ==========================================================

Every function raises `PipelineError` without a position. The caller adds it.
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

from divisions.control import FULL_BP
from divisions.errors import PipelineError
from divisions.names import is_name
from divisions.pipeline.definition import Device, Resources, Runtime

ENDPOINT_PREFIX = "/api/v2/predict/"
MAX_STEPS = 20

_RUNTIME = re.compile(r"python:(3\.[0-9]{1,2})-(cpu|gpu)")
_CPUS = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*vCPUs?", re.IGNORECASE)
_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([GM]B)\s+(V?RAM)", re.IGNORECASE)
_GPU = re.compile(r"(?:([0-9]{1,3})\s*x\s*)?([A-Za-z][A-Za-z0-9-]{0,31})-GPU", re.IGNORECASE)
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*%")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_name(text: str) -> str:
    """A name that is valid in a URL, as a folder and as a metric's label."""
    if not is_name(text):
        raise PipelineError(
            f"{_short(text)} is not a name",
            remedy="use up to 64 lower-case letters, digits, '.', '_' and '-'; a letter or digit first, and no '..'",
        )
    return text


def parse_runtime(text: str) -> Runtime:
    """``python:3.11-gpu``."""
    match = _RUNTIME.fullmatch(text)
    if match is None:
        raise PipelineError(
            f"{_short(text)} is not a runtime", remedy="write it like 'python:3.11-cpu' or 'python:3.11-gpu'"
        )
    return Runtime(match[1], Device(match[2]))


def parse_resources(text: str) -> Resources:
    """``2vCPU, 8GB RAM`` or ``T4-GPU, 16GB VRAM``: some of the four parts, in any order, each at most once."""
    remedy = "write it like '2vCPU, 8GB RAM' or 'T4-GPU, 16GB VRAM'"
    found: dict[str, float] = {}
    accelerator_type: str | None = None
    if len(text) > 200:
        raise PipelineError(f"{_short(text)} is too long", remedy=remedy)
    for part in map(str.strip, text.split(",")):
        if match := _CPUS.fullmatch(part):
            kind, amount = "vCPU", float(match[1])
        elif match := _MEMORY.fullmatch(part):
            kind, amount = match[3].upper(), float(match[1]) / (1 if match[2].upper() == "GB" else 1024)
        elif match := _GPU.fullmatch(part):
            kind, amount = "GPU", float(match[1] or 1)
            accelerator_type = match[2].upper() if match[2].islower() else match[2]
        else:
            raise PipelineError(f"{_short(part)} is not an amount of CPU, RAM, GPU or VRAM", remedy=remedy)
        if kind in found:
            raise PipelineError(f"{kind} stands twice in {_short(text)}", remedy=remedy)
        if not 0 < amount <= 1_000_000:
            raise PipelineError(f"{_short(part)} is out of range", remedy="ask for more than nothing")
        found[kind] = amount
    if "VRAM" in found and "GPU" not in found:
        raise PipelineError(f"{_short(text)} asks for VRAM without a GPU", remedy=remedy)
    return Resources(
        num_cpus=found.get("vCPU", Resources().num_cpus),
        memory_gb=found.get("RAM"),
        num_gpus=found.get("GPU", 0.0),
        accelerator_type=accelerator_type,
        vram_gb=found.get("VRAM"),
    )


def parse_strategy(text: str) -> tuple[int, ...]:
    """``canary: 20% → 50% → 100%`` as rising weights in basis points. The last weight is 100 %."""
    remedy = "write it like 'canary: 20% → 50% → 100%' (or with '->')"
    kind, colon, weights = text.partition(":")
    if kind.strip() != "canary" or not colon:
        raise PipelineError(f"{_short(text)} is not a strategy", remedy=remedy)
    parts = weights.replace("->", "→").split("→")
    if len(parts) > MAX_STEPS:
        raise PipelineError(f"{len(parts)} canary steps are more than {MAX_STEPS}", remedy="leave some out")
    steps_bp = tuple(parse_percent_bp(part.strip()) for part in parts)
    if any(later <= earlier for earlier, later in itertools.pairwise(steps_bp)):
        raise PipelineError(f"the canary steps of {_short(weights.strip())} do not rise", remedy=remedy)
    if steps_bp[-1] != FULL_BP:
        raise PipelineError(f"the last canary step is {parts[-1].strip()}, not 100%", remedy=f"{remedy}; end with 100%")
    return steps_bp


def parse_percent_bp(text: str) -> int:
    """``2.5%`` as basis points: above 0, up to 10,000."""
    match = _PERCENT.fullmatch(text)
    if match is None:
        raise PipelineError(f"{_short(text)} is not a percentage", remedy="write it like '20%'")
    weight_bp = Fraction(match[1]) * 100
    if not 0 < weight_bp <= FULL_BP:
        raise PipelineError(f"{text} is not above 0% and up to 100%", remedy="write it like '20%'")
    if weight_bp.denominator != 1:
        raise PipelineError(f"{text} is finer than 0.01%", remedy="round it; traffic is split in steps of 0.01%")
    return int(weight_bp)


def parse_endpoint(text: str) -> str:
    """``/api/v2/predict/churn``: returns the endpoint's name, ``churn``."""
    if not text.startswith(ENDPOINT_PREFIX):
        raise PipelineError(f"{_short(text)} is not an endpoint", remedy=f"write it like '{ENDPOINT_PREFIX}churn'")
    return parse_name(text.removeprefix(ENDPOINT_PREFIX))


def parse_duration_s(text: str) -> float:
    """``500ms``, ``60s``, ``10m``, ``2h`` or ``45d``, in seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise PipelineError(f"{_short(text)} is not a duration", remedy="write seconds, or like '60s', '10m', '1h'")
    return float(match[1]) * _UNIT_S[match[2]]


def _short(text: str) -> str:
    """Quotes a text for an error; invisible characters are escaped."""
    return repr(text[:60] + "…" if len(text) > 60 else text)
