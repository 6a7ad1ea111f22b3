"""Replies with explanations. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from router.explain.explanation import Explanation
from router.predict.decode import Row
from router.predict.endpoint import Endpoint


def render_row(endpoint: Endpoint, row: Row, explanation: Explanation, top: int) -> bytes:
    """A prediction with its explanation as a JSON object without its closing brace, so that members can follow.

    Args:
        endpoint: that decoded the row.
        row: the customer's.
        explanation: with all scores.
        top: features that are named.
    """
    version = explanation.lane.pool.version
    score = explanation.probability
    return b'{"%s":%s%s,"%s_probability":%.8g%s,"model":"%s","version":"%s","explanation":%s' % (
        endpoint.entity_name,
        msgspec.json.encode(row.key),
        row.note,
        endpoint.encoded_name,
        score,
        endpoint.reply_form(version).decision(score),
        version.model,
        version.label,
        msgspec.json.encode(_members(endpoint.decoder.names, row, explanation, top)),
    )


def _members(names: Sequence[str], row: Row, explanation: Explanation, top: int) -> dict[str, Any]:
    found = explanation.attribution()
    lane, values = explanation.lane, row.checked()
    features = lane.pool.spec.schema.features
    columns = {name: column for column, name in enumerate(names)}
    order = sorted(range(len(found.contributions)), key=lambda place: (-abs(found.contributions[place]), place))
    return {
        "scale": found.scale,
        "reference": found.reference,
        "score": found.score,
        "contributions": [
            {
                "feature": features[column].name,
                "value": values[columns[features[column].name]],
                "reference": lane.reference.values[column],
                "contribution": found.contributions[place],
            }
            for place, column in ((place, explanation.columns[place]) for place in order[:top])
        ],
        "others": sum(found.contributions[place] for place in order[top:]),
        "joint": found.joint,
    }
