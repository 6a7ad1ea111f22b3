"""A run of the pipeline as a training job of SageMaker.

In: a pipeline file, and a target of kind ``sagemaker``. Out: a version in the registry of this home, trained and judged
by ``python -m trainers`` in the project's image. Open `launch` first for what happens here, and `container` for what
happens there; `contract` is what both sides know.
"""
