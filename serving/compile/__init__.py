"""A bundle to the best engine that works here: choose, compile if need be, open and check.

In: a bundle, this machine's devices. Out: a warm engine, TensorRT plans in a cache. Open `opening` first;
`plan_builder` builds one plan, `plans` keeps and checks them.
"""
