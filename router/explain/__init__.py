"""Why a customer has this score: the features that moved it most, by the version that answered.

In: rows of a predict request with ``?explain=true``. Out: jobs for the version's pool, whose rows differ from the
customer's in some features, and a reply. Open `contributions` first for what is computed, then `explainer`.
docs/explain.md has the reasons.
"""
