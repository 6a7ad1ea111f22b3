"""A feature table to a trained model, in this process or on a Ray cluster.

In: rows, labels, hyperparameters. Out: a PyTorch module and its metrics. Open `loop` first; `model` is the network,
`ray_train` runs the loop on one Ray worker, or on several.
"""
