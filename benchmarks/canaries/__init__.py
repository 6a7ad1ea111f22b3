"""Rollouts, simulated by the thousand and live on a cluster.

Open `scenarios` first, then `simulation` (ours), `baselines` (others' rules) and `live_rollouts`.
"""
