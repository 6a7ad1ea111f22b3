"""The restricted Pod Security Standard, as far as our pods could break it.

From https://kubernetes.io/docs/concepts/security/pod-security-standards/; an API server that is old enough to be built
here does not check it.
"""

from collections.abc import Iterator
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def violations(pod: dict[str, Any]) -> list[str]:
    """What keeps a pod's spec from a namespace that enforces ``restricted``."""
    found = [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    for volume in pod.get("volumes", []):
        found += [f"volume of {kind}" for kind in volume.keys() - {"name"} - VOLUMES]
    security = pod.get("securityContext", {})
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        both = {**security, **own}
        if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
            found.append("may run as root")
        if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
            found.append("no seccomp profile")
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            found.append("may gain privileges")
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
            found.append("keeps capabilities")
        found += ["hostPort" for port in container.get("ports", []) if port.get("hostPort")]
    return found


def pods(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The specs of all pods that an object makes."""
    spec = manifest.get("spec", {})
    match manifest["kind"]:
        case "RayCluster":
            for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
                yield group["template"]["spec"]
        case "CronJob":
            yield spec["jobTemplate"]["spec"]["template"]["spec"]
