"""The Open Inference Protocol by plain HTTP: ``python examples/infer_json.py [URL]``. Any language can do this."""

import sys

import httpx


def main(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        model = client.get("/v2/models/churn").raise_for_status().json()
        columns = len(model["inputs"])
        # `rows` stands for all inputs, in their order. JSON has no NaN: a missing value is null.
        tensor = {"name": "rows", "shape": [1, columns], "datatype": "FP32", "data": [[None] * columns]}
        request = {"id": "example-1", "parameters": {"customer_id": "c-1"}, "inputs": [tensor]}
        answer = client.post("/v2/models/churn/infer", json=request).raise_for_status().json()
        (output,) = answer["outputs"]
        print(f"{output['name']} of version {answer['model_version']}: {output['data']}")

        # Errors are problem documents (RFC 9457).
        refused = client.post("/v2/models/churn/infer", json={"inputs": []})
        print(f"{refused.status_code}: {refused.json()['error']}")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["http://127.0.0.1:8000"])
