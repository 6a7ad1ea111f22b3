"""The Open Inference Protocol with Triton's client: ``python examples/infer_tritonclient.py [URL]``.

Needs ``tritonclient[http]`` (part of the extra ``test``). See docs/open-inference-protocol.md.
"""

import sys
from urllib.parse import urlsplit

import numpy as np
import tritonclient.http as triton


def main(url: str) -> None:
    with triton.InferenceServerClient(urlsplit(url).netloc) as client:
        print(f"ready: {client.is_model_ready('churn')}")
        # The metadata names one input per feature. The input `rows` stands for all of them, in the same order and in
        # the model's own encoding: float32, NaN where a value is missing.
        features = [each["name"] for each in client.get_model_metadata("churn")["inputs"]]
        rows_NF = np.full((4, len(features)), np.nan, np.float32)

        tensor = triton.InferInput("rows", list(rows_NF.shape), "FP32").set_data_from_numpy(rows_NF)
        # The parameter named like the entity decides which version answers, as in predict.
        result = client.infer("churn", [tensor], parameters={"customer_id": "c-1"})
        print(f"version {result.get_response()['model_version']}: {result.as_numpy('churn_probability')}")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["http://127.0.0.1:8000"])
