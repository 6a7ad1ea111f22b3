"""What an input's columns are, as the ``features:`` section that says so (`divisions.pipeline.feature_options`)."""

from __future__ import annotations

import json

from divisions.pipeline.define_text import absence_yaml, definitions_yaml
from divisions.pipeline.definition import Features

MAX_LISTED = 1_000
"""More columns of one kind than that do not fit a list of the file."""


def columns_yaml(features: Features) -> str:
    """The section for the columns' roles and kinds. Names that the file cannot hold stand in comments.

    >>> from divisions.pipeline.definition import Label
    >>> print(columns_yaml(Features(label=Label("left"), numeric=("age",))), end="")
    features:
      entity: "customer_id"
      event_time: "event_time"
      label: "left"
      numeric: ["age"]
    """
    lines = ["features:"]
    label = features.label
    label_name = "absent" if label.absence else label.column
    roles = {"entity": features.entity, "event_time": features.event_time, "label": label_name}
    for key, name in roles.items():
        value = _quoted(name)
        if key == "event_time" and features.event_time_constant:
            value = f"{{constant: {_quoted(features.event_time_constant)}}}"
        elif key == "label" and label.absence:
            value = absence_yaml(label.absence)
        elif key == "label" and label.positive:
            words = {"positive": label.positive, **({"negative": label.negative} if label.negative else {})}
            listed = ", ".join(f"{side}: [{', '.join(map(_quoted, these))}]" for side, these in words.items())
            value = f"{{column: {value}, {listed}}}"
        if name:
            lines.append(f"  {key}: {value}" if can_be_named(name) else f"  # {key}: {value}")
    for key in ("numeric", "categorical", "boolean", "exclude"):
        names = [name for name in getattr(features, key) if can_be_named(name)]
        others = len(getattr(features, key)) - len(names[:MAX_LISTED])
        if names:
            lines.append(f"  {key}: [{', '.join(map(_quoted, names[:MAX_LISTED]))}]")
        if others:
            lines.append(f"  # {key}: {others:,} more, with names that cannot stand here or beyond the limit of a list")
    if features.holdout_fraction != Features().holdout_fraction:
        lines.append(f"  holdout_fraction: {features.holdout_fraction!r}")
    lines += [f"  {line}" for line in definitions_yaml(features.define)]
    return "\n".join(lines) + "\n"


def can_be_named(name: str) -> bool:
    """Whether the pipeline file can name this column."""
    return 1 <= len(name) <= 128 and name.isprintable()


def _quoted(name: str) -> str:
    """In quotes, since a plain ``no`` or ``1.10`` would be no text. A JSON string is one of YAML, too."""
    text = json.dumps(name, ensure_ascii=False)
    return text if name.isprintable() else json.dumps(name)
