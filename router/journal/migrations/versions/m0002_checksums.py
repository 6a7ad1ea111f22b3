"""Checksums of every row, and a seal over all."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("journal", sa.Column("chain", sa.LargeBinary))
    op.add_column("snapshot", sa.Column("sum", sa.LargeBinary))
    op.add_column("version", sa.Column("sum", sa.LargeBinary))
    op.create_table(
        "seal",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("writes", sa.BigInteger, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("before", sa.LargeBinary, nullable=False),
    )
