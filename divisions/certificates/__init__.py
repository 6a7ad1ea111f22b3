"""Certificates: of the data channel between nodes (who is who on TCP, and the keys to prove it), and of the port.

In: the cluster's authority, made at `up` or given as a file. Out: TLS contexts for gateways and replicas. Open
`authority` first. `request` makes a key and asks for a certificate, `contexts` turns the answer into TLS contexts,
`renewal` says when the next one is due. Only `authority` and `request` import ``cryptography``; a gateway's process
imports neither. `port_pair` checks the user's pair for the gateways' port; commands of the home know it by
`pinned`.
"""
