"""Many requests at a time: ``python examples/predict_async.py [URL]``."""

import asyncio
import sys

from divisions import AsyncClient

CUSTOMERS = [f"c-{number}" for number in (1, 3)] * 10


async def main(url: str) -> None:
    async with AsyncClient(url) as client:
        # Requests that arrive together travel to the model in one batch.
        predictions = await asyncio.gather(*(client.predict("churn", customer_id=each) for each in CUSTOMERS))
    # The split is sticky: a customer is answered by the same version, also while a canary runs.
    versions = {prediction.customer_id: prediction.version for prediction in predictions}
    print(f"{len(predictions)} answers; versions by customer: {versions}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:] or ["http://127.0.0.1:8000"]))
