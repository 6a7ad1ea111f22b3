"""What every benchmark needs: machine, ports, a cluster, results.

Open `command` first: it is the shape of each benchmark's command line.
"""
