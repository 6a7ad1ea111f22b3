"""Other servers with the same model, and the comparison with them. Open `compare` first."""
