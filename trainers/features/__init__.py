"""Features over events, as SQL: definitions and a time for each entity in, one row of features for each entity out.

Pure: nothing here reads or runs anything. `trainers.data.defined_features` runs it. Open `aggregation` first.
"""
