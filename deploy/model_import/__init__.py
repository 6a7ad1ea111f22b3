"""Models that others have made: an ONNX file, or a version that plain MLflow has registered, becomes a version of ours.

In: the file's bytes and a feature schema. Out: a registered version, judged by the pipeline's gates. Open
`start.py` first.
"""
