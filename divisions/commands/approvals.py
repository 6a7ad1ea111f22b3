"""``divisions approve`` and ``divisions approvals list``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.connection import connect
from divisions.commands.output import Format, Output, age, print_json, table
from divisions.errors import UsageError, reason_of

if TYPE_CHECKING:
    from divisions.promotion import Approval

app = typer.Typer(help="Who has approved which version.", no_args_is_help=True, rich_markup_mode=None)


def approve(
    name: Annotated[str, typer.Argument(metavar="ENDPOINT@VERSION", help="Such as churn@3.2.")],
    comment: Annotated[str, typer.Option(help="Why, in a line; it is audited.")] = "",
    digest: Annotated[
        str, typer.Option("--digest", metavar="SHA256", help="Only if the version has this bundle.")
    ] = "",
    report: Annotated[
        str,
        typer.Option("--report", metavar="FILE", help="Sign off this validation report, or the one with this SHA-256."),
    ] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the approval back.")] = False,
    of: Annotated[str, typer.Option("--of", metavar="NAME", help="With --revoke, for admins: whose approval.")] = "",
    output: Output = Format.TEXT,
) -> None:
    """Approve a version that waits for it, or take that back."""
    from divisions.sdk.approvals import Approvals

    endpoint, version = split(name)
    if revoke and (comment or digest or report):
        raise UsageError("--revoke takes no --comment, no --digest and no --report", remedy="leave them out")
    if of and not revoke:
        raise UsageError("--of goes with --revoke", remedy="nobody approves for others")
    sha256 = report_digest(report)
    with connect() as client:
        approvals = Approvals(client)
        if revoke:
            found = approvals.revoke(endpoint, version, name=of)
        else:
            found = approvals.approve(endpoint, version, comment=comment, bundle_sha256=digest, report_sha256=sha256)
    if output is Format.JSON:
        print_json({"revoked" if revoke else "approved": found})
    else:
        what = "the approval was taken back: " if revoke else "approved: "
        signed = f", report {found.report_sha256[:16]} signed off" if found.report_sha256 else ""
        print(f"{what}{found.endpoint}@{found.version}, bundle {found.bundle_sha256[:16]}{signed}, by {found.name}")


@app.command("list")
def list_(output: Output = Format.TEXT) -> None:
    """List who has approved which version, the newest first."""
    from divisions.clock import SystemClock
    from divisions.sdk.approvals import Approvals

    with connect() as client:
        found = Approvals(client).list()
    if output is Format.JSON:
        print_json(found)
    else:
        print(render(found, SystemClock().wall_s()))


def split(name: str) -> tuple[str, str]:
    """``churn@3.2`` in its two parts.

    >>> split("churn@3.2")
    ('churn', '3.2')
    """
    endpoint, _, version = name.partition("@")
    if not endpoint or not version:
        raise UsageError(f"{name[:80]!r} is no version of an endpoint", remedy="write it like churn@3.2")
    return endpoint, version


def report_digest(report: str) -> str:
    """The SHA-256 of a report, which is a file or is named by it; empty if none is given.

    Raises:
        UsageError: there is no such file.

    >>> report_digest("A" * 64) == "a" * 64
    True
    """
    if not report or re.fullmatch("[0-9a-fA-F]{64}", report):
        return report.lower()
    try:
        return hashlib.sha256(Path(report).expanduser().read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the report {report[:200]!r} cannot be read: {reason_of(error)}",
            remedy="name validation/report.html of the version's run, as it was downloaded, or its SHA-256",
        ) from None


def render(found: tuple[Approval, ...], now_s: float) -> str:
    """The list as a table."""
    if not found:
        return "nobody has approved anything"
    return table(
        ("VERSION", "BUNDLE", "REPORT", "BY", "ROLE", "AGE", "ENDS", "COMMENT"),
        [
            (
                f"{each.endpoint}@{each.version}",
                each.bundle_sha256[:16],
                each.report_sha256[:16] or "-",
                each.name,
                each.role,
                age(now_s - each.at_s),
                f"in {age(each.expires_s - now_s)}" if each.expires_s > now_s else "ended",
                each.comment,
            )
            for each in found
        ],
    )
