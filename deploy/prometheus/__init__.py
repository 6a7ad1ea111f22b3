"""What Prometheus needs to watch a cluster, as code. Open `rules.py` first.

In: pipeline files with an SLO, and the home. Out: a configuration, and rules..
"""
