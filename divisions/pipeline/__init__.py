"""The pipeline file: YAML to typed values, every error with line and column.

In: the text of ``ml_training.yaml``. Out: `definition.Pipeline`. Open `file` first; a section's keys are in `options`.
"""
