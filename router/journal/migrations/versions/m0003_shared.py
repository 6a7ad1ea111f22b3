"""What a journal on a server needs: who may write, an order of versions without SQLite's rows, and pruning."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("version", sa.Column("number", sa.BigInteger, nullable=False, server_default="0"))
    if op.get_context().dialect.name == "sqlite":  # only SQLite has journals of before
        op.execute("UPDATE version SET number = rowid")
    op.create_table(
        "anchor",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("chain", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "controller",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("term", sa.BigInteger, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("cluster", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
        sa.Column("seen_s", sa.Double, nullable=False),
    )
