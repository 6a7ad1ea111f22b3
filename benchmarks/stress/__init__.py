"""A cluster under overload, kills and steady load. Open `overload`, `chaos` or `steady`."""
