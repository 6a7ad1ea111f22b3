"""Shipping: ``divisions deploy`` brings a registered version to a target, step by step, and can go on after a crash.

In: a release and a target. Out: a deployment in the journal of deployments, told line by line. Open `run` first.
"""
