"""One bundle behind one gateway in one process, without Ray: what a container of SageMaker runs, and `divisions serve`.

In: a bundle's folder, such as ``/opt/ml/model``. Out: predictions over HTTP until the process is told to end. Open
`serve` first.
"""
