"""Ask why a customer has this score: ``python examples/explain.py [URL]``."""

import asyncio
import sys

from divisions import AsyncClient, Client


def main(url: str) -> None:
    with Client(url) as client:
        prediction = client.explain("churn", customer_id="c-1", top=3)
        why = prediction.explanation
        print(f"{prediction.customer_id}: {prediction.probability:.3f} by version {prediction.version}")
        print(f"in log-odds {why.score:+.2f}, of a typical customer {why.reference:+.2f}")
        for each in why.contributions:
            print(f"  {each.feature} = {each.value} (typically {each.reference}): {each.contribution:+.2f}")
        print(f"  all others: {why.others + why.joint:+.2f}")
    asyncio.run(many(url))


async def many(url: str) -> None:
    # The same with asyncio, for several customers in one request.
    async with AsyncClient(url) as client:
        for prediction in await client.explain("churn", instances=["c-1", "c-3"], top=1):
            (most,) = prediction.explanation.contributions
            print(f"{prediction.customer_id}: most by {most.feature}")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["http://127.0.0.1:8000"])
