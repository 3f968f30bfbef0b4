"""What a model declares of its outcomes, the intervals of its importances, and how it did when it was new."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add them."""
    op.add_column("models", sa.Column("evaluation", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("models", sa.Column("importance_intervals", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("models", sa.Column("reference_performance", sa.Text(), nullable=False, server_default="{}"))
