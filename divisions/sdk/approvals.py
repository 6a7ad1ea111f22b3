"""Approvals of versions, over a client whose token is an approver's or an admin's. Listing needs less."""

from __future__ import annotations

import msgspec

from divisions.promotion import Approval, ApprovalAnswer, NewApproval, RevokedApproval
from divisions.sdk.calls import Call, endpoint_name, reader
from divisions.sdk.client import Client

_PATH = "/api/v2/approvals"


class Approvals:
    """See the module."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> tuple[Approval, ...]:
        """Who has approved which version, the newest first."""
        return self._client._send(Call("GET", _PATH, reader(ApprovalAnswer))).approvals

    def approve(
        self, endpoint: str, version: str, *, comment: str = "", bundle_sha256: str = "", report_sha256: str = ""
    ) -> Approval:
        """Approves a version that is being rolled out.

        Args:
            endpoint: where it is rolled out.
            version: such as ``3.2``.
            comment: why, in a line.
            bundle_sha256: the bundle that was looked at; another one is refused. Empty: the one that is rolled out.
            report_sha256: of the validation report that was read, which this signs off; another one is refused.

        Raises:
            PolicyRefusedError: the caller has trained the version or started its rollout, and this is production.
            AccessDeniedError: the cluster's policy refuses it.
            UnknownVersionError: no such version is being rolled out there.
            ConflictError: the version has another bundle, or another report.
        """
        body = NewApproval(endpoint_name(endpoint), version, bundle_sha256, comment, report_sha256)
        return self._send("", body)

    def revoke(self, endpoint: str, version: str, *, name: str = "") -> Approval:
        """Takes the caller's approval back; an admin also that of ``name``.

        Raises:
            UnknownVersionError: there is no such approval.
        """
        return self._send("/revoke", RevokedApproval(endpoint_name(endpoint), version, name))

    def _send(self, path: str, body: NewApproval | RevokedApproval) -> Approval:
        call = Call("POST", _PATH + path, reader(ApprovalAnswer), msgspec.json.encode(body))
        return self._client._send(call).approvals[0]
