"""Bundles by content: a record names a bundle by its address and its SHA-256, never by a path of one machine's disk.

Every machine keeps bundles in ``<home>/bundles``. With ``DIVISIONS_ARTIFACTS``, a store that all machines reach has
them, too, and the folder of the home is a bounded cache of it.
"""
