"""What is said about a bundle and signed: where it comes from (SLSA provenance) and what is in it (CycloneDX).

In: a bundle's manifest, the facts of its training, an Ed25519 key. Out: signed envelopes (DSSE) of in-toto statements,
and their verification. Open `envelope` first.
"""
