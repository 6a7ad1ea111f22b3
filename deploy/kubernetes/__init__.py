"""Kubernetes: the manifests of a deployment on KubeRay, from one typed source, and how they get onto a cluster.

In: `values.Values`, and a cluster's API. Out: objects, a kustomize base with overlays, and what the cluster has become.
Open `values` first, then `manifests`.
"""
