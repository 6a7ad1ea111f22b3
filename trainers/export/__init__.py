"""A trained model to a bundle.

In: a PyTorch module. Out: a folder with ONNX graphs, schema, reference and hashes. Open `onnx_export` first, then
`bundle_writer`.
"""
