"""Ask an endpoint from Python: ``python examples/predict.py [URL]``."""

import sys

from divisions import Client
from divisions.errors import UnknownEntityError


def main(url: str) -> None:
    with Client(url) as client:
        # One customer. The features are in the online store, where the pipeline put them.
        prediction = client.predict("churn", customer_id="c-1")
        print(f"{prediction.customer_id}: {prediction.probability:.3f} by version {prediction.version}")

        # Many rows in one request. A row may also carry all of its features, in place of the stored ones.
        # A pandas DataFrame works, too: client.predict("churn", instances=frame)
        for prediction in client.predict("churn", instances=["c-1", {"customer_id": "c-3"}]):
            print(f"{prediction.customer_id}: {prediction.probability:.3f}")

        # Every failure is a divisions.errors.DivisionsError with a message and a remedy.
        try:
            client.predict("churn", customer_id="nobody")
        except UnknownEntityError as error:
            print(f"error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["http://127.0.0.1:8000"])
