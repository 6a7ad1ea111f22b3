"""The kind ``kubernetes``: a cluster with KubeRay. The manifests and the API are in `deploy.kubernetes`."""
