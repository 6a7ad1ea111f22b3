"""The engine of ingestion, as it is opened."""

from trainers.data.engine import Limits, open_engine


def test_the_engine_draws_no_progress_onto_standard_output():
    with open_engine(Limits(num_threads=1)) as engine:
        assert engine.connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() == [(False,)]
