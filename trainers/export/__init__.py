"""A trained model to a bundle.

In: a trained model. Out: a folder with ONNX graphs, schema, reference and hashes. Open `onnx_export` first, then
`bundle_writer`.
"""
