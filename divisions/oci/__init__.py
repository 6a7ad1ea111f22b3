"""OCI registries: artifacts are pushed to and pulled from any server of the OCI distribution specification.

In: a repository's address and credentials. Out: bytes whose digest was checked. Open `registry` first.
"""
