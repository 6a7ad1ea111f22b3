"""A bundle as the file that an Open Policy Agent server loads. The same rules give the same bytes. Pure."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

from divisions.policy.bundle import Bundle


def archive(bundle: Bundle) -> bytes:
    """A ``.tar.gz`` with the rules (without tests), their data and a manifest, whose revision is the digest."""
    manifest = {"revision": bundle.digest, "roots": ["divisions", "custom"], "rego_version": 1}
    files = {
        ".manifest": json.dumps(manifest, sort_keys=True),
        "data.json": json.dumps(bundle.data, sort_keys=True),
        **{module.name: module.text for module in bundle.modules if not module.is_test},
    }
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as writer:
        for name, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            writer.addfile(member, io.BytesIO(data))
    return gzip.compress(tar.getvalue(), mtime=0)
